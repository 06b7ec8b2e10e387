//! The domain: one file for each operation, over the transaction context, with its rules
