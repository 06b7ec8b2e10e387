//! What hangs on an app client's sign-in pages, and goes with the client: its managed login style with the
//! assets, its customization of the classic pages, its terms documents.

use bytes::Bytes;
use conclave_store::keys::{self, AssetRow, ClientPage};

use crate::tx::{Query, Tx};

/// Rows of one client's pages: a style, a customization with a logo, and a document of each name.
const PAGES_MAX: u32 = 16;

/// Asks for what [`forget`] needs.
pub(crate) fn query(query: Query, client_id: &str) -> Query {
    query.scan(keys::client_pages(client_id), Vec::new(), PAGES_MAX)
}

/// Deletes all of it, in the commit that deletes the client. That commit has to rely on the configuration, of
/// which all of it is part; assets that are being written rely on the client.
pub(crate) fn forget(tx: &mut Tx<'_>, client_id: &str) {
    let prefix = keys::client_pages(client_id);
    let rows: Vec<(Bytes, Bytes)> =
        tx.loaded_under(&prefix).map(|(key, value)| (key.clone(), value.clone())).collect();
    let (mut styles, mut documents) = (0, 0);
    for (key, value) in rows {
        let id = std::str::from_utf8(&value).unwrap_or_default();
        match key.get(prefix.len()) {
            Some(&page) if page == ClientPage::Branding as u8 => {
                tx.delete(keys::branding(id));
                styles += 1;
            }
            Some(&page) if page == ClientPage::Terms as u8 => {
                tx.delete(keys::terms(id));
                documents += 1;
            }
            _ => {}
        }
        tx.delete(key.to_vec());
    }
    for (page, count) in [(ClientPage::Branding, styles), (ClientPage::Terms, documents)] {
        if count > 0 {
            tx.add(keys::client_page_count(page), -count, None, None);
        }
    }
    tx.delete_children(keys::assets(AssetRow::Piece, client_id));
    tx.delete_children(keys::assets(AssetRow::Upload, client_id));
}
