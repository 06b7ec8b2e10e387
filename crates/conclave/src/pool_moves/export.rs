//! `conclave export POOL_ID`.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use conclave_crypto::mac::Sha256;
use serde_json::json;
use tokio::time::{Instant, timeout};
use tonic::{Streaming, transport::Channel};

use super::{
    args::ExportArgs,
    keys,
    manifest::{self, Manifest},
};
use crate::{
    backup::{
        create::Pace,
        destination::{Destination, Writing},
        manifest::hex,
    },
    cluster_admin::{
        Client,
        proto::{self, export_pool_response::Part, exports_client::ExportsClient},
        table,
    },
    failure::Failure,
    output,
};

/// A leader may move while it is looked for.
const HOPS_MAX: usize = 8;
/// A node that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(250);

pub async fn run(args: &ExportArgs) -> Result<()> {
    let destination = Destination::parse(&args.to)?;
    let keys = keys::read(&args.connection, &args.pool_id).await?;
    let mut client = Client::new(&args.connection)?;
    let (cut, stream) = cut(&mut client, &args.pool_id).await?;
    let mut writing = destination.begin(&cut.export_id).await?;
    let copied = copy(&cut, stream, &mut writing, args, keys).await;
    let manifest = match copied {
        Ok(manifest) => manifest,
        Err(error) => {
            writing.abandon().await;
            return Err(error);
        }
    };
    let files = [&manifest.pool, &manifest.keys];
    let sha256 = writing.publish_as(manifest::FILE, &manifest.to_json()?, &files).await?;
    let path = format!("{}/{}", args.to.trim_end_matches('/'), manifest.export_id);
    output::line(&match args.json {
        true => serde_json::to_string_pretty(&as_json(&manifest, &path, &sha256))?,
        false => as_table(&manifest, &path, &sha256),
    })?;
    Ok(())
}

/// The names of members are a promise: they are added, never renamed.
fn as_json(manifest: &Manifest, path: &str, sha256: &str) -> serde_json::Value {
    json!({
        "export": path,
        "export_id": manifest.export_id,
        "pool_id": manifest.pool_id,
        "cluster_id": manifest.cluster_id,
        "account_id": manifest.account_id,
        "manifest_sha256": sha256,
        "cut_ms": manifest.cut_ms,
        "complete": manifest.complete,
        "rows": manifest.rows,
        "users": manifest.users,
        "clients": manifest.clients,
        "bytes": manifest.bytes(),
    })
}

fn as_table(manifest: &Manifest, path: &str, sha256: &str) -> String {
    let row = [
        manifest.pool_id.clone(),
        manifest.account_id.clone(),
        manifest.users.to_string(),
        manifest.clients.to_string(),
        manifest.rows.to_string(),
        manifest.bytes().to_string(),
    ];
    let table = table(&["POOL", "ACCOUNT", "USERS", "CLIENTS", "ROWS", "BYTES"], &[row.to_vec()]);
    let rest = match manifest.complete {
        true => "The pool is frozen: nothing is missing from the export, until somebody thaws it.",
        false => {
            "The pool can still change: what is written in it from now on is not in the export. Only an export that is made \
             when `conclave freeze` says that the pool is settled is complete."
        }
    };
    format!(
        "{table}\n\nThe pool is in {path}.\nIts manifest has the SHA-256 {sha256}: give it to `conclave import`, and \
         nobody can put another export in its place.\n{rest}"
    )
}

/// Has the leader of the pool's group cut it.
async fn cut(
    client: &mut Client,
    pool_id: &str,
) -> Result<(proto::PoolCut, Streaming<proto::ExportPoolResponse>)> {
    let request = proto::ExportPoolRequest { pool_id: pool_id.to_owned() };
    for _ in 0..HOPS_MAX {
        let ask =
            async |channel: Channel| ExportsClient::new(channel).export_pool(request.clone()).await;
        let mut stream = client.ask(ask).await?;
        match next(&mut stream).await? {
            Part::Cut(cut) => return Ok((cut, stream)),
            Part::Ask(leader) => client.turn_to(&leader.address),
            Part::Data(_) | Part::End(_) => bail!("the pool began in the middle"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Failure::failed("the leader of the pool's group keeps moving: try again").into())
}

async fn next(stream: &mut Streaming<proto::ExportPoolResponse>) -> Result<Part> {
    let message = timeout(SILENCE_MAX, stream.message()).await;
    let message = message.map_err(|_| Failure::failed("the pool comes no more"))?;
    let message = message.map_err(|status| {
        Failure::failed(format!("the pool could not be exported: {}", status.message()))
    })?;
    message
        .and_then(|message| message.part)
        .ok_or_else(|| Failure::failed("the export ends early").into())
}

async fn copy(
    cut: &proto::PoolCut,
    mut stream: Streaming<proto::ExportPoolResponse>,
    writing: &mut Writing<'_>,
    args: &ExportArgs,
    keys: keys::Read,
) -> Result<Manifest> {
    let keys = keys.write(cut, &args.pool_id, writing).await?;
    let mut file = writing.file("pool.age").await?;
    let (mut hash, mut pace) = (Sha256::default(), Pace::new(args.rate));
    let mut progress = Progress::new(!args.json);
    let end = loop {
        match next(&mut stream).await? {
            Part::Data(data) => {
                hash.update(&data);
                file.write(&data).await?;
                progress.bytes(data.len());
                pace.pass(data.len()).await;
            }
            Part::End(end) => break end,
            Part::Cut(_) | Part::Ask(_) => bail!("the export begins twice"),
        }
    };
    let pool = file.finish().await?;
    ensure!(
        pool.bytes == end.file_bytes && hash.finish().as_slice() == end.file_sha256,
        "the export was damaged on the way"
    );
    Ok(Manifest {
        format: manifest::FORMAT,
        export_id: cut.export_id.clone(),
        pool_id: args.pool_id.clone(),
        cluster_id: cut.cluster_id.clone(),
        account_id: cut.account_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cut_ms: cut.cut_ms,
        complete: cut.complete,
        group: cut.group,
        term: cut.term,
        index: cut.index,
        rows: end.rows,
        users: end.users,
        clients: end.clients,
        state_sha256: hex(&end.state_sha256),
        pool,
        keys,
        recipients: cut.recipients.clone(),
    })
}

/// Says on standard error how far it is, from time to time.
pub struct Progress {
    shown: bool,
    said_at: Instant,
    bytes: u64,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(2);

    pub fn new(shown: bool) -> Self {
        Self { shown, said_at: Instant::now(), bytes: 0 }
    }

    /// So many more have been written, or read.
    pub fn bytes(&mut self, more: usize) {
        self.bytes += more as u64;
        self.say(&format!("{} MiB", self.bytes >> 20));
    }

    pub fn say(&mut self, text: &str) {
        if self.shown && self.said_at.elapsed() >= Self::EVERY {
            self.said_at = Instant::now();
            // what cannot be shown is no reason to stop
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
        }
    }
}
