//! No entry, no request and no state makes a shard panic.

use bytes::Bytes;
use conclave_store::{
    find_expired, keys, limits,
    memory::MemoryKv,
    proto::{self, check::Expect, entry::Command, write::Action},
    read,
};
use proptest::prelude::*;
use prost::Message;

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(-1),
        Just(i64::MIN),
        Just(i64::MAX),
        Just(59_999),
        any::<i64>(),
        1_700_000_000_000_i64..1_700_000_200_000,
    ]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::from_static(keys::ROOT)),
        Just(Bytes::from_static(keys::EPOCH)),
        Just(Bytes::new()),
        prop::collection::vec(prop_oneof![Just(0xff_u8), Just(0), any::<u8>()], 0..12)
            .prop_map(Bytes::from),
        Just(Bytes::from(vec![0xff; 300])),
    ]
}

fn scope() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("p".to_owned()),
        1 => Just(String::new()),
        // longer than a key can hold, cut in the middle of a character
        1 => Just("é".repeat(128)),
        1 => Just("é".repeat(200)),
        1 => Just("s".repeat(255)),
        1 => any::<String>(),
    ]
}

fn expect() -> impl Strategy<Value = Option<Expect>> {
    prop_oneof![
        any::<u64>().prop_map(|version| Some(Expect::AtVersion(version))),
        any::<bool>().prop_map(|yes| Some(Expect::Exists(yes))),
        any::<bool>().prop_map(|yes| Some(Expect::Absent(yes))),
        Just(None),
    ]
}

fn action() -> impl Strategy<Value = Option<Action>> {
    let optional = || prop::option::of(number());
    prop_oneof![
        4 => (bytes(), optional())
            .prop_map(|(value, expires_at_ms)| Some(Action::Put(proto::Put { value, expires_at_ms }))),
        1 => Just(Some(Action::Delete(proto::Delete {}))),
        1 => Just(Some(Action::DeletePrefix(proto::DeletePrefix {}))),
        3 => (number(), optional(), optional(), optional()).prop_map(|(delta, min, max, expires_at_ms)| {
            Some(Action::Add(proto::Add { delta, min, max, expires_at_ms }))
        }),
        1 => Just(None),
    ]
}

fn commit() -> impl Strategy<Value = proto::Commit> {
    let check = (bytes(), expect()).prop_map(|(key, expect)| proto::Check { key, expect });
    let write = (bytes(), action()).prop_map(|(key, action)| proto::Write { key, action });
    (
        bytes(),
        scope(),
        number(),
        prop::option::of(any::<u64>()),
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(check, 0..4)],
        prop::collection::vec(write, 0..6),
        any::<bool>(),
    )
        .prop_map(|(id, scope, decided_ms, epoch, checks, mut writes, creates)| {
            if creates {
                let root = Action::Put(proto::Put::default());
                writes.push(proto::Write { key: keys::ROOT.into(), action: Some(root) });
            }
            proto::Commit { id, scope, decided_ms, epoch, checks, writes }
        })
}

fn entry() -> impl Strategy<Value = proto::Entry> {
    let swept = (scope(), bytes(), number())
        .prop_map(|(scope, key, expires_at_ms)| proto::SweptRow { scope, key, expires_at_ms });
    let command = prop_oneof![
        6 => commit().prop_map(|commit| Some(Command::Commit(commit))),
        2 => prop::collection::vec(swept, 0..5)
            .prop_map(|rows| Some(Command::Sweep(proto::Sweep { rows }))),
        1 => any::<u32>().prop_map(|level| Some(Command::Raise(proto::Raise { level, members: None }))),
        1 => Just(None),
    ];
    let level = prop_oneof![6 => Just(0), 1 => 1..4_u32, 1 => any::<u32>()];
    (number(), command, level, any::<bool>()).prop_map(
        |(stamp_ms, mut command, level, decided_now)| {
            if let (Some(Command::Commit(commit)), true) = (&mut command, decided_now) {
                commit.decided_ms = stamp_ms;
            }
            proto::Entry { stamp_ms, command, level }
        },
    )
}

fn request() -> impl Strategy<Value = proto::Read> {
    let hop = (bytes(), bytes(), prop_oneof![Just(0), Just(3), any::<u32>()])
        .prop_map(|(before, after, prefix_limit)| proto::Hop { before, after, prefix_limit });
    let follow = (bytes(), prop::collection::vec(hop, 0..4))
        .prop_map(|(index, hops)| proto::Follow { index, hops });
    let scan = (bytes(), bytes(), prop_oneof![Just(0), Just(u32::MAX), any::<u32>()])
        .prop_map(|(prefix, after, limit)| proto::Scan { prefix, after, limit });
    (
        scope(),
        prop::collection::vec(bytes(), 0..4),
        prop::collection::vec(follow, 0..3),
        prop::collection::vec(scan, 0..4),
    )
        .prop_map(|(scope, gets, follows, scans)| proto::Read { scope, gets, follows, scans })
}

/// Rows that no entry has written: what a disk could hold after all checksums have failed.
fn arbitrary_state() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let group_state = (number(), any::<u64>(), number()).prop_map(|(clock_ms, seq, ids)| {
        proto::GroupState { clock_ms, seq, ids_from_minute: ids, level: 0 }.encode_to_vec()
    });
    let row = |first: u8| {
        prop::collection::vec(any::<u8>(), 0..24)
            .prop_map(move |rest| [&[first][..], &rest].concat())
    };
    let key = prop_oneof![row(0x11), row(0x12), row(0x20), Just(keys::row("p", keys::ROOT))];
    let value = prop::collection::vec(any::<u8>(), 0..12);
    (
        prop_oneof![3 => group_state, 1 => prop::collection::vec(any::<u8>(), 0..12)],
        prop::collection::vec((key, value), 0..8),
    )
        .prop_map(|(state, rows)| {
            rows.into_iter().chain([(keys::GROUP_STATE.to_vec(), state)]).collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_has_an_outcome(
        entries in prop::collection::vec(entry(), 1..12),
        request in request(),
        wall_ms in number(),
    ) {
        let mut kv = MemoryKv::default();
        for entry in &entries {
            let outcome = kv.apply(entry).expect("states that entries made can be read");
            prop_assert!(outcome.result.is_some());
        }
        read(&kv, &request, wall_ms).expect("states that entries made can be read");
        find_expired(&kv, wall_ms, 10).expect("states that entries made can be read");
    }

    #[test]
    fn whatever_expires_is_swept_in_the_end(entries in prop::collection::vec(entry(), 1..12)) {
        let mut kv = MemoryKv::default();
        for entry in &entries {
            kv.apply(entry).expect("applies");
        }
        // a sweeper that takes a few at a time
        for _ in 0..200 {
            let rows = find_expired(&kv, i64::MAX, 3).expect("reads");
            let command = Some(Command::Sweep(proto::Sweep { rows }));
            kv.apply(&proto::Entry { stamp_ms: i64::MAX, command, level: 0 }).expect("applies");
        }
        prop_assert_eq!(find_expired(&kv, i64::MAX, 1).expect("reads"), vec![]);
    }

    #[test]
    fn arbitrary_bytes_are_an_entry_that_applies_or_no_entry(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(entry) = proto::Entry::decode(&bytes[..]) {
            MemoryKv::default().apply(&entry).expect("applies");
        }
        if let Ok(request) = proto::Read::decode(&bytes[..]) {
            let _ = limits::check_read(&request);
            read(&MemoryKv::default(), &request, 0).expect("reads");
        }
        if let Ok(commit) = proto::Commit::decode(&bytes[..]) {
            let _ = limits::check_commit(&commit);
        }
    }

    /// The entry of a real commit, with some of its bytes changed.
    #[test]
    fn a_damaged_entry_applies_or_is_no_entry(
        entry in entry(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = entry.encode_to_vec();
        prop_assume!(!bytes.is_empty());
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(entry) = proto::Entry::decode(&bytes[..]) {
            MemoryKv::default().apply(&entry).expect("applies");
        }
    }

    #[test]
    fn a_damaged_state_is_an_error_at_worst(
        rows in arbitrary_state(),
        entries in prop::collection::vec(entry(), 1..4),
        request in request(),
    ) {
        let mut kv: MemoryKv = rows.into_iter().collect();
        for entry in &entries {
            let _ = kv.apply(entry);
        }
        let _ = read(&kv, &request, 0);
        let _ = find_expired(&kv, i64::MAX, 10);
    }
}

#[test]
fn an_expiry_that_cannot_be_read_does_not_keep_the_others_from_being_swept() {
    let damaged = [keys::EXPIRY, &[0; 8], &[9], b"short"].concat();
    let mut kv = MemoryKv::from_iter([(damaged, Vec::new())]);
    let writes = [(keys::ROOT, None), (&b"code"[..], Some(5))].map(|(key, expires_at_ms)| {
        let put = Action::Put(proto::Put { expires_at_ms, ..Default::default() });
        proto::Write { key: key.into(), action: Some(put) }
    });
    let commit =
        proto::Commit { scope: "p".to_owned(), writes: writes.to_vec(), ..Default::default() };
    kv.apply(&proto::Entry { stamp_ms: 1, command: Some(Command::Commit(commit)), level: 0 })
        .expect("applies");
    let found = find_expired(&kv, 5, 10).expect("reads");
    assert_eq!(found.len(), 1);
    assert_eq!(&found[0].key[..], b"code");
}
