//! The fault matrix: a function for each row. Each makes its fault, keeps it up for a time, ends it, and says what shows that it
//! bit. Whether the cluster kept its promises meanwhile is judged by [`run`](super::run), the same way for all.

mod processes;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};

use super::{lab::Lab, sandbox::Tools};

/// A row of the matrix that can be run.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its number, such as `F01`.
    pub id: &'static str,
    /// What happens.
    pub name: &'static str,
    /// The longest gap between two acknowledgements of a class of operations, where the row has one.
    pub gap_max: Option<Duration>,
    /// What it needs of the machine.
    pub needs: fn(&Tools) -> Result<(), &'static str>,
}

/// What a fault has to say for itself.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Whether it did anything: a run whose fault did not bite shows nothing.
    pub bit: bool,
    /// What shows it, and what was chosen.
    pub what: String,
    /// Promises of this row alone that were broken.
    pub violations: Vec<String>,
    /// What was measured, by name.
    pub figures: BTreeMap<&'static str, f64>,
    /// Figures that are not what the row asks for.
    pub slow: Vec<String>,
}

impl Evidence {
    fn new(bit: bool, what: String) -> Self {
        Self { bit, what, ..Self::default() }
    }
}

const fn seconds(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count))
}

fn nothing(_: &Tools) -> Result<(), &'static str> {
    Ok(())
}

/// All rows that can be run.
pub const ROWS: &[Row] =
    &[Row { id: "F01", name: "leader SIGKILL", gap_max: seconds(2), needs: nothing }];

/// A row by its number.
pub fn find(id: &str) -> Option<Row> {
    ROWS.iter().find(|row| row.id.eq_ignore_ascii_case(id)).copied()
}

/// Makes the fault of a row, once.
///
/// # Errors
/// The fault could not be made or ended.
pub async fn inject(row: &Row, lab: &mut Lab) -> Result<Evidence> {
    match row.id {
        "F01" => processes::leader_is_killed(lab).await,
        other => bail!("no row {other}"),
    }
}
