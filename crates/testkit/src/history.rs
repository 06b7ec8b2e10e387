//! What clients saw, and when: the evidence that [`linearizability`](crate::linearizability) judges.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;

/// The name of a register.
pub type Key = String;
/// What a register holds. Writers that never write the same value twice make the sharpest evidence.
pub type Value = String;

/// A register and what a transaction relies on.
pub type Checked = (Key, Check);
/// A register and its new value; `None` deletes.
pub type Written = (Key, Option<Value>);

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Several registers at one moment.
    Read {
        /// The registers.
        keys: Vec<Key>,
    },
    /// Writes, all or none, when all checks hold.
    Transaction {
        /// What must hold.
        checks: Vec<Checked>,
        /// The new values.
        writes: Vec<Written>,
    },
}

impl Call {
    /// The checks and writes: a read has none.
    pub fn parts(&self) -> (&[Checked], &[Written]) {
        match self {
            Self::Read { .. } => (&[], &[]),
            Self::Transaction { checks, writes } => (checks, writes),
        }
    }
}

/// What a transaction relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The register has this version; 0: it is absent.
    AtVersion(u64),
    /// The register is there.
    Exists,
    /// The register is not there.
    Absent,
}

/// A register as an answer shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The register.
    pub key: Key,
    /// `None`: absent.
    pub value: Option<Value>,
    /// The version, where the interface tells it.
    pub version: Option<u64>,
}

/// What a client was told. `seq` is the number of the state that the answer belongs to, where the
/// interface tells it: it grows with every commit, of this history's registers or of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Call::Read`].
    Rows {
        /// The registers, at one moment.
        rows: Vec<Observed>,
        /// The last commit that they show.
        seq: Option<u64>,
    },
    /// The transaction took effect.
    Committed {
        /// The number of the commit, and the version of all that it wrote.
        seq: Option<u64>,
    },
    /// The transaction did not take effect and never will.
    Conflict {
        /// The registers whose checks did not hold, at one moment.
        rows: Vec<Observed>,
        /// The last commit that they show.
        seq: Option<u64>,
    },
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// With an answer.
    Answered(Answer),
    /// It certainly had no effect, and tells nothing.
    Failed,
    /// It may have taken effect, may do so at any later time, or never.
    Unknown,
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// What for.
    pub call: Call,
    /// When: a moment of the recorder, not a time of day.
    pub invoked: u64,
    /// When the client learned how it ended; `None` while it does not know.
    pub returned: Option<u64>,
    /// How it ended.
    pub fate: Fate,
}

impl Operation {
    /// The registers it names.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let read = match &self.call {
            Call::Read { keys } => &keys[..],
            Call::Transaction { .. } => &[],
        };
        let (checks, writes) = self.call.parts();
        let checks = checks.iter().map(|(key, _)| key);
        let writes = writes.iter().map(|(key, _)| key);
        read.iter().chain(checks).chain(writes)
    }

    /// The registers that its answer shows.
    pub fn observed(&self) -> &[Observed] {
        match &self.fate {
            Fate::Answered(Answer::Rows { rows, .. } | Answer::Conflict { rows, .. }) => rows,
            _ => &[],
        }
    }
}

/// Records operations from many tasks, in the order in which they begin and end.
#[derive(Default)]
pub struct Recorder(Mutex<Log>);

#[derive(Default)]
struct Log {
    moment: u64,
    operations: Vec<Operation>,
}

impl Log {
    fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }
}

impl Recorder {
    /// A recorder of an empty history, shared by the clients.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Called just before a request is sent.
    pub fn invoke(self: &Arc<Self>, client: u32, call: Call) -> Pending {
        let mut log = self.0.lock();
        let invoked = log.next_moment();
        let number = log.operations.len();
        log.operations.push(Operation {
            client,
            call,
            invoked,
            returned: None,
            fate: Fate::Unknown,
        });
        Pending { recorder: Arc::clone(self), number }
    }

    /// The history so far. Operations that have not ended are unknown.
    pub fn history(&self) -> Vec<Operation> {
        self.0.lock().operations.clone()
    }
}

/// An operation that has begun. Dropped without a word, its fate stays unknown.
pub struct Pending {
    recorder: Arc<Recorder>,
    number: usize,
}

impl Pending {
    /// The answer has arrived.
    pub fn answered(self, answer: Answer) {
        self.end(Fate::Answered(answer));
    }

    /// The answer has arrived, and shows that the operation was this one: an interface may tell that something is there
    /// without telling what.
    pub fn answered_as(self, call: Call, answer: Answer) {
        if let Some(operation) = self.recorder.0.lock().operations.get_mut(self.number) {
            operation.call = call;
        }
        self.end(Fate::Answered(answer));
    }

    /// The operation certainly had no effect, and never will.
    pub fn failed(self) {
        self.end(Fate::Failed);
    }

    /// Nobody will ever know. Says in words what dropping does.
    pub fn unknown(self) {}

    fn end(self, fate: Fate) {
        let mut log = self.recorder.0.lock();
        let moment = log.next_moment();
        if let Some(operation) = log.operations.get_mut(self.number) {
            operation.returned = Some(moment);
            operation.fate = fate;
        }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or("absent");
        write!(f, "{}={value}", self.key)?;
        match self.version {
            Some(version) if self.value.is_some() => write!(f, "@{version}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let returned = self.returned.map_or("?".to_owned(), |moment| moment.to_string());
        write!(f, "[{}..{returned}] client {} ", self.invoked, self.client)?;
        match &self.call {
            Call::Read { keys } => write!(f, "reads {}", keys.join(" "))?,
            Call::Transaction { checks, writes } => {
                let checks = checks.iter().map(|(key, check)| match check {
                    Check::AtVersion(version) => format!("{key}@{version}"),
                    Check::Exists => format!("{key} exists"),
                    Check::Absent => format!("{key} absent"),
                });
                let writes = writes.iter().map(|(key, value)| match value {
                    Some(value) => format!("{key}:={value}"),
                    None => format!("delete {key}"),
                });
                let checks = checks.collect::<Vec<_>>().join(", ");
                let writes = writes.collect::<Vec<_>>().join(", ");
                write!(f, "if ({checks}) then ({writes})")?;
            }
        }
        let (what, rows, seq) = match &self.fate {
            Fate::Answered(Answer::Rows { rows, seq }) => ("", &rows[..], seq),
            Fate::Answered(Answer::Committed { seq }) => (" committed", &[][..], seq),
            Fate::Answered(Answer::Conflict { rows, seq }) => (" conflict:", &rows[..], seq),
            Fate::Failed => (" failed", &[][..], &None),
            Fate::Unknown => (" unknown", &[][..], &None),
        };
        write!(f, " ->{what}")?;
        for row in rows {
            write!(f, " {row}")?;
        }
        match seq {
            Some(seq) => write!(f, " (seq {seq})"),
            None => Ok(()),
        }
    }
}
