//! In-process cluster, clock and network fakes, client vocabulary, invariants
