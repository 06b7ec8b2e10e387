//! Single pools out of one cluster and into another.
//!
//! - `service`: the node that leads the pool's group cuts it, encrypts the pool's rows and sends them
//! - `keys`: what opens them, which whoever has the key-encryption key adds; `manifest`: what is told of them in the clear
//! - `export`, `import`, `freeze`: the commands; `args`: what people type
//!
//! An export lies where backups can lie too, and has the format of their files.

mod args;
mod export;
mod freeze;
mod import;
mod keys;
mod manifest;
mod service;

pub use args::{ExportArgs, FreezeArgs, ImportArgs, ThawArgs};
pub use export::run as run_export;
pub use freeze::{run as run_freeze, thaw as run_thaw};
pub use import::run as run_import;
pub use service::ExportService;
