//! AWS JSON 1.1: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>.
//!
//! Reading is strict where a lenient reader could be made to see another request than the one that was checked elsewhere:
//! UTF-8 only, no member twice, no value of the wrong type. Null means absent; members that the model does not have are
//! ignored and counted, as AWS ignores them.

mod decode;
mod encode;
mod reader;

pub(crate) use decode::{check_documents, decode};
pub(crate) use encode::{encode, string};

/// How deep structures, lists, maps and documents may be nested. The deepest message of the model has seven levels.
const MOST_DEPTH: u32 = 64;
