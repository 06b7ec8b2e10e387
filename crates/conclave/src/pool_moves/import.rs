//! `conclave import EXPORT`.
//!
//! The file is decrypted and written on a piece at a time. That it was whole is known at its end, and only then is the pool
//! there.

use anyhow::{Context as _, Result, ensure};
use conclave_crypto::age::Identity;
use conclave_identity::{
    pool_moves::{Import, Imported, Order},
    restore::Keep,
};
use serde_json::json;

use super::{
    args::ImportArgs,
    export::Progress,
    keys,
    manifest::{self, Manifest},
};
use crate::{
    backup::{
        destination::Destination,
        files::{Contents, Reader},
        identity,
        manifest::hex,
    },
    clock::SystemClock,
    cluster_admin::table,
    failure::Failure,
    output, serve,
};

pub async fn run(args: &ImportArgs) -> Result<()> {
    let identities = identity::read(&args.identity)?;
    let (destination, manifest, sha256) = manifest::read(&args.export).await?;
    if let Some(expected) = &args.manifest_sha256
        && !expected.eq_ignore_ascii_case(&sha256)
    {
        return Err(Failure::failed(format!(
            "the manifest has the SHA-256 {sha256}: it is not the one that is expected"
        ))
        .into());
    }
    if !manifest.complete && !args.incomplete && !args.dry_run {
        return Err(Failure::failed(format!(
            "the export is not complete: {} could still change when it was made. Freeze it first, and export it when \
             `conclave freeze` says that it is settled; or take it as it is, with --incomplete",
            manifest.pool_id
        ))
        .into());
    }
    let keys = keys::open(&destination, &manifest, &identities).await.map_err(unusable)?;
    let keep = match (args.keep_tokens, args.keep_refresh_tokens) {
        (true, _) => Keep::Tokens,
        (_, true) => Keep::RefreshTokens,
        _ => Keep::Nothing,
    };
    let order = Order {
        pool_id: manifest.pool_id.clone(),
        account_id: args.account.clone(),
        keep,
        cut_ms: manifest.cut_ms,
        keys,
        dry_run: args.dry_run,
    };
    let world = serve::connect(&args.config).await?;
    let mut import = Import::new(world, order);
    let done = copy(&mut import, &destination, &manifest, &identities, !args.json).await;
    let imported = match done {
        Ok(imported) => imported,
        Err(error) => return Err(give_up(import, &manifest, &error).await.into()),
    };
    output::line(&match args.json {
        true => serde_json::to_string_pretty(&as_json(args, &manifest, &imported))?,
        false => as_table(args, &manifest, &imported, keep),
    })?;
    Ok(())
}

fn unusable(error: anyhow::Error) -> Failure {
    Failure::failed(format!("the export cannot be used: {error:#}"))
}

async fn copy(
    import: &mut Import,
    destination: &Destination,
    manifest: &Manifest,
    identities: &[Identity],
    shown: bool,
) -> Result<Imported> {
    let mut progress = Progress::new(shown);
    let mut reader = Reader::new(identities);
    let mut rows = Vec::new();
    let mut read = 0_u64;
    let mut file = destination.checked(&manifest.export_id, &manifest.pool).await?;
    while let Some(piece) = file.next().await? {
        reader.feed(&piece, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(())
        })?;
        read += rows.len() as u64;
        import.take(rows.drain(..)).await?;
        progress.say(&format!("{read} of {} rows", manifest.rows));
    }
    let contents = reader.finish(&mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    let contents = contents.with_context(|| manifest.pool.file.clone())?;
    check(manifest, &contents)?;
    import.take(rows.drain(..)).await?;
    let imported = import.finish().await?;
    // tokens that are issued in the second of the cut-off are refused with those of before
    SystemClock::start().rest_of_second().await;
    Ok(imported)
}

fn check(manifest: &Manifest, contents: &Contents) -> Result<()> {
    keys::check_header(&contents.header, manifest, &manifest.pool.file)?;
    ensure!(
        contents.rows == manifest.rows && hex(&contents.state_sha256) == manifest.state_sha256,
        "the rows are not those of the manifest"
    );
    Ok(())
}

/// Clears away what was begun, and says what there is.
async fn give_up(import: Import, manifest: &Manifest, error: &anyhow::Error) -> Failure {
    let pool_id = &manifest.pool_id;
    let left = match import.abandon().await {
        Ok(false) => "Nothing of it is there.".to_owned(),
        Ok(true) => format!("{pool_id} is there all the same: look at it."),
        Err(cause) => format!(
            "Nothing of it serves. What was written could not be cleared away ({cause}): the next import of the pool \
             does, or the cluster by itself in some minutes."
        ),
    };
    Failure::failed(format!("{pool_id} could not be imported: {error:#}\n{left}"))
}

/// The names of members are a promise: they are added, never renamed.
fn as_json(args: &ImportArgs, manifest: &Manifest, imported: &Imported) -> serde_json::Value {
    json!({
        "pool_id": manifest.pool_id,
        "account_id": args.account,
        "account_before": imported.account_before,
        "name": imported.name,
        "rows": imported.rows,
        "users": imported.users,
        "client_ids": imported.client_ids,
        "domains": imported.domains,
        "complete": manifest.complete,
        "dry_run": args.dry_run,
    })
}

fn as_table(args: &ImportArgs, manifest: &Manifest, imported: &Imported, keep: Keep) -> String {
    let row = [
        manifest.pool_id.clone(),
        args.account.clone(),
        imported.users.to_string(),
        imported.client_ids.len().to_string(),
        imported.domains.len().to_string(),
        imported.rows.to_string(),
    ];
    let head = ["POOL", "ACCOUNT", "USERS", "CLIENTS", "DOMAINS", "ROWS"];
    let mut text = table(&head, &[row.to_vec()]);
    if args.dry_run {
        text += "\n\nIt can be imported. Nothing was changed.";
        if !manifest.complete {
            text +=
                " The pool was not frozen when it was exported: for good, export it again then.";
        }
        return text;
    }
    text += match keep {
        Keep::Nothing => {
            "\n\nEverybody signs in again, with the password of the time of the export."
        }
        Keep::RefreshTokens => "\n\nRefresh tokens are good that were when the pool was exported.",
        Keep::Tokens => "\n\nTokens are good that were when the pool was exported.",
    };
    if imported.account_before != args.account {
        text += &format!(
            "\nThe pool was of account {}: its ARN is another one now.",
            imported.account_before
        );
    }
    text
}
