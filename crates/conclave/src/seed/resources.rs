//! What a pool has few of: resource servers, identity providers, groups, domains.

use conclave_api::ExceptionName;
use serde_json::{Map, Value as Json};

use super::{
    SeedError,
    apply::{Outcome, Report, for_good, found, refused},
    call::{Caller, member, submit},
    compare,
    form::{DOMAINS, Form, GROUPS, IDENTITY_PROVIDERS, RESOURCE_SERVERS},
    node::Node,
};

/// What is declared, with the pool.
fn declared(form: &Form, pool_id: &str, node: &Node) -> Map<String, Json> {
    let mut declared = form.declared(node);
    declared.insert("UserPoolId".to_owned(), Json::from(pool_id));
    declared
}

/// The members that name the thing.
fn naming(declared: &Map<String, Json>, names: &[&str]) -> Map<String, Json> {
    let named = |name: &&str| Some(((*name).to_owned(), declared.get(*name)?.clone()));
    names.iter().filter_map(named).collect()
}

/// What differs and what to send: an error when it is something that cannot be changed.
fn changes(
    operation: &str,
    node: &Node,
    declared: &Map<String, Json>,
    described: &Map<String, Json>,
) -> Result<(Vec<String>, Map<String, Json>), SeedError> {
    let changed = compare::differences(declared, described);
    if let Some(name) = changed.iter().find(|name| !compare::has_member(operation, name)) {
        return Err(for_good(node, name));
    }
    Ok((changed, compare::update_body(operation, declared, described)))
}

/// Reports what has been made or changed.
fn report(report: &mut Report, form: &Form, node: &Node, name: &str, changed: Option<Vec<String>>) {
    let outcome = changed.map_or(Outcome::Created, Outcome::of_changes);
    report.add(form.what, node.text(name).unwrap_or_default(), outcome);
}

pub async fn resource_server(
    caller: &Caller<'_>,
    pool_id: &str,
    node: &Node,
    done: &mut Report,
) -> Result<(), SeedError> {
    let declared = declared(&RESOURCE_SERVERS, pool_id, node);
    let name = naming(&declared, &["UserPoolId", "Identifier"]);
    let answer =
        submit!(caller, DescribeResourceServer, resource_servers::describe_resource_server, &name);
    let changed = match found(answer).map_err(refused(node))? {
        None => {
            let made = submit!(
                caller,
                CreateResourceServer,
                resource_servers::create_resource_server,
                &declared
            );
            made.map_err(refused(node))?;
            None
        }
        Some(answer) => {
            let described = member(&answer, "ResourceServer");
            let (changed, body) = changes("UpdateResourceServer", node, &declared, &described)?;
            if !changed.is_empty() {
                let answer = submit!(
                    caller,
                    UpdateResourceServer,
                    resource_servers::update_resource_server,
                    &body
                );
                answer.map_err(refused(node))?;
            }
            Some(changed)
        }
    };
    report(done, &RESOURCE_SERVERS, node, "Identifier", changed);
    Ok(())
}

pub async fn identity_provider(
    caller: &Caller<'_>,
    pool_id: &str,
    node: &Node,
    done: &mut Report,
) -> Result<(), SeedError> {
    let declared = declared(&IDENTITY_PROVIDERS, pool_id, node);
    let name = naming(&declared, &["UserPoolId", "ProviderName"]);
    let answer = submit!(
        caller,
        DescribeIdentityProvider,
        identity_providers::describe_identity_provider,
        &name
    );
    let changed = match found(answer).map_err(refused(node))? {
        None => {
            let made = submit!(
                caller,
                CreateIdentityProvider,
                identity_providers::create_identity_provider,
                &declared
            );
            made.map_err(refused(node))?;
            None
        }
        Some(answer) => {
            let described = member(&answer, "IdentityProvider");
            let (changed, _) = changes("UpdateIdentityProvider", node, &declared, &described)?;
            if !changed.is_empty() {
                // what it leaves out stays
                let names = ["UserPoolId", "ProviderName"].into_iter();
                let names: Vec<_> = names.chain(changed.iter().map(String::as_str)).collect();
                let body = naming(&declared, &names);
                let answer = submit!(
                    caller,
                    UpdateIdentityProvider,
                    identity_providers::update_identity_provider,
                    &body
                );
                answer.map_err(refused(node))?;
            }
            Some(changed)
        }
    };
    report(done, &IDENTITY_PROVIDERS, node, "ProviderName", changed);
    Ok(())
}

pub async fn group(
    caller: &Caller<'_>,
    pool_id: &str,
    node: &Node,
    done: &mut Report,
) -> Result<(), SeedError> {
    let declared = declared(&GROUPS, pool_id, node);
    let name = naming(&declared, &["UserPoolId", "GroupName"]);
    let answer = submit!(caller, GetGroup, groups::get_group, &name);
    let changed = match found(answer).map_err(refused(node))? {
        None => {
            let made = submit!(caller, CreateGroup, groups::create_group, &declared);
            made.map_err(refused(node))?;
            None
        }
        Some(answer) => {
            let described = member(&answer, "Group");
            let (changed, body) = changes("UpdateGroup", node, &declared, &described)?;
            if !changed.is_empty() {
                let answer = submit!(caller, UpdateGroup, groups::update_group, &body);
                answer.map_err(refused(node))?;
            }
            Some(changed)
        }
    };
    report(done, &GROUPS, node, "GroupName", changed);
    Ok(())
}

pub async fn domain(
    caller: &Caller<'_>,
    pool_id: &str,
    node: &Node,
    done: &mut Report,
) -> Result<(), SeedError> {
    let declared = declared(&DOMAINS, pool_id, node);
    let name = naming(&declared, &["Domain"]);
    let answer = submit!(caller, DescribeUserPoolDomain, domains::describe_user_pool_domain, &name);
    let described = member(&answer.map_err(refused(node))?, "DomainDescription");
    // a domain that is not the caller's looks like none, and is refused when it is made
    let changed = if described.is_empty() {
        let made =
            submit!(caller, CreateUserPoolDomain, domains::create_user_pool_domain, &declared);
        made.map_err(refused(node))?;
        None
    } else if described.get("UserPoolId") != declared.get("UserPoolId") {
        let error = ExceptionName::InvalidParameterException
            .because("Domain already associated with another user pool.");
        return Err(refused(node)(error));
    } else {
        let (changed, body) = changes("UpdateUserPoolDomain", node, &declared, &described)?;
        if !changed.is_empty() {
            let answer =
                submit!(caller, UpdateUserPoolDomain, domains::update_user_pool_domain, &body);
            answer.map_err(refused(node))?;
        }
        Some(changed)
    };
    report(done, &DOMAINS, node, "Domain", changed);
    Ok(())
}
