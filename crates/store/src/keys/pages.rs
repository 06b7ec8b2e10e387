//! Keys of what a pool's sign-in pages look like and link to: it hangs on app clients, and goes with them.

use super::{TERMINATOR, Tag, tagged};

/// The rows of assets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AssetRow {
    /// Pieces by client, asset and number: bytes.
    Piece = 1,
    /// Assets that no record names yet, by client and a random id: `AssetUploadRecord`.
    Upload = 2,
}

/// What belongs to the pages of an app client, or of all of a pool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ClientPage {
    /// The managed login style: its id.
    Branding = 1,
    /// Customization of the classic pages: `UiCustomizationRecord`.
    UiCustomization = 2,
    /// The logo of the classic pages: bytes.
    Logo = 3,
    /// Terms documents by name: the id.
    Terms = 4,
}

/// `ManagedLoginBrandingRecord` of a style.
pub fn branding(branding_id: &str) -> Vec<u8> {
    tagged(Tag::Branding, &[branding_id.as_bytes()])
}

/// The part before the id of a [`branding`] key, for a `Follow`.
pub fn branding_hop() -> (Vec<u8>, Vec<u8>) {
    (vec![Tag::Branding as u8], Vec::new())
}

/// A piece of an asset.
pub fn asset_piece(client_id: &str, asset_id: &[u8], number: u32) -> Vec<u8> {
    let mut key = assets(AssetRow::Piece, client_id);
    key.extend_from_slice(asset_id);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// `AssetUploadRecord` of an upload.
pub fn asset_upload(client_id: &str, upload_id: &[u8]) -> Vec<u8> {
    let mut key = assets(AssetRow::Upload, client_id);
    key.extend_from_slice(upload_id);
    key
}

/// The prefix of every [`asset_upload`] of the pool.
pub fn asset_uploads() -> Vec<u8> {
    vec![Tag::Asset as u8, AssetRow::Upload as u8]
}

/// The prefix of every [`asset_piece`] or [`asset_upload`] of a client.
pub fn assets(row: AssetRow, client_id: &str) -> Vec<u8> {
    tagged(Tag::Asset, &[&[row as u8], client_id.as_bytes(), &TERMINATOR])
}

/// Something of a client's pages. `name` tells things of one kind apart; empty where there is one.
pub fn client_page(client_id: &str, page: ClientPage, name: &str) -> Vec<u8> {
    let mut key = client_pages(client_id);
    key.push(page as u8);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The prefix of every [`client_page`] of a client.
pub fn client_pages(client_id: &str) -> Vec<u8> {
    tagged(Tag::ClientPage, &[client_id.as_bytes(), &TERMINATOR])
}

/// `TermsRecord` of a terms document.
pub fn terms(terms_id: &str) -> Vec<u8> {
    tagged(Tag::Terms, &[terms_id.as_bytes()])
}

/// The prefix of every [`terms`].
pub fn all_terms() -> Vec<u8> {
    vec![Tag::Terms as u8]
}

/// The counter of the pool's styles or terms documents.
pub fn client_page_count(page: ClientPage) -> Vec<u8> {
    vec![Tag::ClientPageCount as u8, page as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored data outlives versions: these bytes may never change.
    #[test]
    fn keys_have_the_bytes_that_they_have_always_had() {
        assert_eq!(branding("i"), [0x46, b'i']);
        assert_eq!(asset_piece("c", b"a", 2), [0x47, 1, b'c', 0, 1, b'a', 0, 0, 0, 2]);
        assert_eq!(asset_upload("c", b"u"), [0x47, 2, b'c', 0, 1, b'u']);
        assert_eq!(client_page("c", ClientPage::Terms, "n"), [0x48, b'c', 0, 1, 4, b'n']);
        assert_eq!(terms("i"), [0x49, b'i']);
        assert_eq!(client_page_count(ClientPage::Branding), [0x4a, 1]);
    }

    #[test]
    fn what_belongs_to_a_client_is_apart_from_a_client_with_a_longer_id() {
        let longer = client_page("ab", ClientPage::Branding, "");
        assert!(!longer.starts_with(&client_pages("a")));
        assert!(!asset_piece("ab", b"x", 0).starts_with(&assets(AssetRow::Piece, "a")));
        assert!(asset_upload("a", b"x").starts_with(&asset_uploads()));
    }
}
