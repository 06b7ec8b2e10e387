//! `conclave freeze` and `conclave thaw`.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::time::sleep;
use tonic::transport::Channel;

use super::{
    args::{FreezeArgs, ThawArgs},
    export::Progress,
};
use crate::{
    cluster_admin::{
        Client,
        proto::{FreezePoolRequest, FreezePoolResponse, exports_client::ExportsClient},
    },
    failure::Failure,
    output,
};

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn run(args: &FreezeArgs) -> Result<()> {
    let mut client = Client::new(&args.thaw.connection)?;
    let mut progress = Progress::new(!args.thaw.json);
    let mut now = ask(&mut client, &args.thaw, Some(true)).await?;
    while !args.no_wait && now.now_ms < now.settled_ms {
        let left_s = (now.settled_ms - now.now_ms) / 1_000;
        progress.say(&format!("{left_s} s until nothing can come any more that was begun before"));
        sleep(LOOK_EVERY).await;
        now = ask(&mut client, &args.thaw, None).await?;
        if now.frozen_ms == 0 {
            return Err(Failure::failed("somebody has thawed the pool meanwhile").into());
        }
    }
    let text = match now.now_ms < now.settled_ms {
        true => "is frozen; what was begun before can still be written for two minutes",
        false => "is frozen, and nothing is written in it any more",
    };
    tell(&args.thaw, now, text)
}

pub async fn thaw(args: &ThawArgs) -> Result<()> {
    let mut client = Client::new(&args.connection)?;
    let now = ask(&mut client, args, Some(false)).await?;
    tell(args, now, "is not frozen")
}

async fn ask(
    client: &mut Client,
    args: &ThawArgs,
    frozen: Option<bool>,
) -> Result<FreezePoolResponse> {
    let request = FreezePoolRequest { pool_id: args.pool_id.clone(), frozen };
    let ask =
        async |channel: Channel| ExportsClient::new(channel).freeze_pool(request.clone()).await;
    client.ask(ask).await
}

fn tell(args: &ThawArgs, now: FreezePoolResponse, text: &str) -> Result<()> {
    let time = |ms: i64| (ms > 0).then_some(ms);
    output::line(&match args.json {
        true => serde_json::to_string_pretty(&json!({
            "pool_id": args.pool_id,
            "frozen": now.frozen_ms > 0,
            "frozen_ms": time(now.frozen_ms),
            "settled_ms": time(now.settled_ms),
            "now_ms": now.now_ms,
        }))?,
        false => format!("{} {text}.", args.pool_id),
    })?;
    Ok(())
}
