//! Terms documents of app clients: links that sign-up shows. A client has at most one document of each name.

mod create_terms;
mod delete_terms;
mod describe_terms;
mod list_terms;
mod settings;
#[cfg(test)]
mod tests;
mod update_terms;

pub use create_terms::create_terms;
pub use delete_terms::delete_terms;
pub use describe_terms::describe_terms;
pub use list_terms::list_terms;
pub use update_terms::update_terms;

use conclave_api::{ApiError, ExceptionName, types};
use conclave_store::records::TermsRecord;

/// The texts of both are judgement, after those that the service has for styles.
fn terms_not_found() -> ApiError {
    ApiError::resource_not_found("Terms does not exist.")
}

fn exists(name: &str, client_id: &str) -> ApiError {
    ApiError::new(
        ExceptionName::TermsExistsException,
        format!("Terms with the name {name} already exists for client {client_id}"),
    )
}

/// A document as every operation but the list answers it.
fn describe(pool_id: &str, record: TermsRecord) -> types::TermsType {
    types::TermsType {
        terms_id: Some(record.terms_id),
        user_pool_id: Some(pool_id.to_owned()),
        client_id: Some(record.client_id),
        terms_name: Some(record.name),
        terms_source: Some(record.source),
        enforcement: Some(record.enforcement),
        links: record.links.into_iter().collect(),
        creation_date: Some(record.created_ms),
        last_modified_date: Some(record.modified_ms),
    }
}
