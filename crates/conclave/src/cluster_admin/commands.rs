//! What the commands do.

use anyhow::Result;

use super::{
    args::{Brief, Change, ClusterCommand, Connection, View},
    client::Client,
    json,
    proto::{self, NodeState},
    table,
    wait::{self, Goal},
};
use crate::{failure::Failure, output};

/// A leader may move while it is looked for.
const HOPS_MAX: usize = 4;

/// Runs one command to its end.
pub async fn run(command: ClusterCommand) -> Result<()> {
    match command {
        ClusterCommand::Status(view) => status(&view).await,
        ClusterCommand::Nodes(view) => nodes(&view).await,
        ClusterCommand::Groups(view) => groups(&view).await,
        ClusterCommand::Drain(change) => drain(&change).await,
        ClusterCommand::Undrain(brief) => undrain(&brief).await,
        ClusterCommand::Replace { change, with } => replace(&change, with).await,
        ClusterCommand::Remove(brief) => remove(&brief).await,
        ClusterCommand::TransferLeadership { connection, group, to } => {
            transfer_leadership(&connection, group, to).await
        }
    }
}

async fn status(view: &View) -> Result<()> {
    let mut client = Client::new(&view.connection)?;
    let ask = async |mut client: Asked| client.get_status(proto::GetStatusRequest {}).await;
    let status = client.call(ask).await?;
    match view.json {
        true => output::line(&json::document(&json::status(&status)))?,
        false => output::line(&table::status(&status))?,
    }
    match status.healthy {
        true => Ok(()),
        false => Err(Failure::not_well("the cluster is not well").into()),
    }
}

async fn nodes(view: &View) -> Result<()> {
    let mut client = Client::new(&view.connection)?;
    let ask = async |mut client: Asked| client.list_nodes(proto::ListNodesRequest {}).await;
    let nodes = client.call(ask).await?.nodes;
    output::line(&match view.json {
        true => json::document(&json::nodes(&nodes)),
        false => table::nodes(&nodes),
    })?;
    Ok(())
}

async fn groups(view: &View) -> Result<()> {
    let mut client = Client::new(&view.connection)?;
    let ask = async |mut client: Asked| client.list_groups(proto::ListGroupsRequest {}).await;
    let groups = client.call(ask).await?.groups;
    output::line(&match view.json {
        true => json::document(&json::groups(&groups)),
        false => table::groups(&groups),
    })?;
    Ok(())
}

async fn drain(change: &Change) -> Result<()> {
    let node_id = change.node;
    let mut client = Client::new(&change.connection)?;
    let request = proto::DrainNodeRequest { node_id };
    client.call(async |mut client: Asked| client.drain_node(request).await).await?;
    if change.no_wait {
        output::line(&format!(
            "Node {node_id} gives its groups away; `conclave nodes` shows how far it is."
        ))?;
        return Ok(());
    }
    let goal = Goal {
        node_id,
        what: "draining",
        reached: &|node| matches!(node.state(), NodeState::Drained | NodeState::Removed),
        lost: &|node| matches!(node.state(), NodeState::Active | NodeState::Joining),
    };
    wait::until(&mut client, &goal, change.timeout()).await?;
    output::line(&format!(
        "Node {node_id} is drained. Stop it, and remove it with `conclave remove {node_id}`; or have it \
         take groups again with `conclave undrain {node_id}`."
    ))?;
    Ok(())
}

async fn undrain(brief: &Brief) -> Result<()> {
    let node_id = brief.node;
    let request = proto::UndrainNodeRequest { node_id };
    let mut client = Client::new(&brief.connection)?;
    client.call(async |mut client: Asked| client.undrain_node(request).await).await?;
    output::line(&format!("Node {node_id} takes groups again."))?;
    Ok(())
}

async fn replace(change: &Change, replaced_by: Option<u64>) -> Result<()> {
    let node_id = change.node;
    let mut client = Client::new(&change.connection)?;
    let request = proto::ReplaceNodeRequest { node_id, replaced_by };
    client.call(async |mut client: Asked| client.replace_node(request).await).await?;
    if change.no_wait {
        output::line(&format!(
            "Node {node_id} is being replaced; `conclave nodes` shows how far it is."
        ))?;
        return Ok(());
    }
    let goal = Goal {
        node_id,
        what: "replacing",
        reached: &|node| node.state() == NodeState::Removed,
        lost: &|_| false,
    };
    wait::until(&mut client, &goal, change.timeout()).await?;
    output::line(&format!(
        "Node {node_id} is replaced and removed. Its number is not used again: a machine that takes its \
         place starts with a new one and an empty data directory."
    ))?;
    Ok(())
}

async fn remove(brief: &Brief) -> Result<()> {
    let node_id = brief.node;
    let request = proto::RemoveNodeRequest { node_id };
    let mut client = Client::new(&brief.connection)?;
    client.call(async |mut client: Asked| client.remove_node(request).await).await?;
    output::line(&format!("Node {node_id} is removed. Its number is not used again."))?;
    Ok(())
}

async fn transfer_leadership(connection: &Connection, group: u32, to: u64) -> Result<()> {
    let mut client = Client::new(connection)?;
    let request = proto::TransferLeadershipRequest { group, node_id: to };
    for _ in 0..HOPS_MAX {
        let ask = async |mut client: Asked| client.transfer_leadership(request).await;
        match client.call(ask).await?.ask {
            Some(leader) => client.turn_to(&leader.address),
            None => {
                output::line(&format!("Node {to} leads group {group}."))?;
                return Ok(());
            }
        }
    }
    Err(Failure::failed(format!("the leader of group {group} keeps moving: try again")).into())
}

pub(super) type Asked = proto::admin_client::AdminClient<tonic::transport::Channel>;
