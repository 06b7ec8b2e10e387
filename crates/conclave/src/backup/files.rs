//! What the encrypted files hold: frames of `proto/conclave/backup/v1/backup.proto`, written and read a piece at a time.

use anyhow::{Context as _, Result, bail, ensure};
use conclave_crypto::{
    age::{AgeError, Decryptor, Encryptor, Identity, Recipient},
    entropy::Entropy,
    mac::Sha256,
};
use prost::Message as _;
use zeroize::Zeroize as _;

use super::proto::{ClusterKeys, End, Frame, Header, PoolKeys, Row, Rows, frame::Part};

/// See [`Header`].
pub const FORMAT: u32 = 1;
/// Bytes of rows in one frame; a row of any size has one.
const ROWS_BYTES: usize = 48 << 10;
/// Bytes of a frame that is read: more than the largest row.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// The hash of a state: over all rows in order.
#[derive(Default)]
pub struct StateHash(Sha256);

impl StateHash {
    /// Takes the next row.
    pub fn row(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            self.0.update(&(part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }

    /// Of all that have come.
    pub fn finish(self) -> [u8; 32] {
        self.0.finish()
    }
}

/// Writes a file.
pub struct Writer {
    encryptor: Encryptor,
    rows: Vec<Row>,
    bytes: usize,
    count: u64,
    hash: StateHash,
    out: Vec<u8>,
}

impl Writer {
    /// Begins with a header.
    pub fn new(
        header: Header,
        recipients: &[Recipient],
        entropy: &dyn Entropy,
    ) -> Result<Self, AgeError> {
        let (encryptor, out) = Encryptor::new(recipients, entropy)?;
        let (hash, rows) = Default::default();
        let mut writer = Self { encryptor, rows, bytes: 0, count: 0, hash, out };
        writer.frame(Part::Header(header))?;
        Ok(writer)
    }

    /// Takes the next row.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), AgeError> {
        self.hash.row(key, value);
        self.count += 1;
        self.bytes += key.len() + value.len();
        self.rows.push(Row { key: key.to_vec(), value: value.to_vec() });
        if self.bytes >= ROWS_BYTES { self.flush() } else { Ok(()) }
    }

    /// Takes the cluster's keys.
    pub fn cluster_keys(&mut self, keys: ClusterKeys) -> Result<(), AgeError> {
        self.frame(Part::ClusterKeys(keys))
    }

    /// Takes the keys of a pool.
    pub fn pool_keys(&mut self, keys: PoolKeys) -> Result<(), AgeError> {
        self.frame(Part::PoolKeys(keys))
    }

    /// Bytes of the file that have not been taken.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// What there is of the file by now, without what was taken before.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The rest of the file, the number of rows and the hash of the state.
    pub fn finish(mut self) -> Result<(Vec<u8>, u64, [u8; 32]), AgeError> {
        self.flush()?;
        let state_sha256 = std::mem::take(&mut self.hash).finish();
        self.frame(Part::End(End { rows: self.count, state_sha256: state_sha256.to_vec() }))?;
        self.encryptor.finish(&mut self.out)?;
        Ok((self.out, self.count, state_sha256))
    }

    fn flush(&mut self) -> Result<(), AgeError> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() { Ok(()) } else { self.frame(Part::Rows(Rows { rows })) }
    }

    fn frame(&mut self, part: Part) -> Result<(), AgeError> {
        let mut frame = Frame { part: Some(part) }.encode_to_vec();
        let length = u32::try_from(frame.len()).map_err(|_| AgeError::Damaged)?;
        self.encryptor.write(&length.to_be_bytes(), &mut self.out)?;
        self.encryptor.write(&frame, &mut self.out)?;
        frame.zeroize();
        Ok(())
    }
}

/// What a file says of itself, once all of it has been read.
pub struct Contents {
    pub header: Header,
    pub rows: u64,
    pub state_sha256: [u8; 32],
    pub cluster_keys: Option<ClusterKeys>,
    pub pool_keys: Option<PoolKeys>,
}

/// Reads a file.
pub struct Reader<'a> {
    decryptor: Decryptor<'a>,
    plain: Vec<u8>,
    header: Option<Header>,
    cluster_keys: Option<ClusterKeys>,
    pool_keys: Option<PoolKeys>,
    end: Option<End>,
    count: u64,
    hash: StateHash,
}

/// Takes a row.
pub type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

impl<'a> Reader<'a> {
    pub fn new(identities: &'a [Identity]) -> Self {
        Self {
            decryptor: Decryptor::new(identities),
            plain: Vec::new(),
            header: None,
            cluster_keys: None,
            pool_keys: None,
            end: None,
            count: 0,
            hash: StateHash::default(),
        }
    }

    /// Takes more of the file; rows that are complete are visited. They are authentic, and may not be all.
    pub fn feed(&mut self, file: &[u8], visit: Visit<'_>) -> Result<()> {
        self.decryptor.write(file, &mut self.plain)?;
        self.frames(visit)
    }

    /// The file has ended.
    pub fn finish(mut self, visit: Visit<'_>) -> Result<Contents> {
        let decryptor = std::mem::replace(&mut self.decryptor, Decryptor::new(&[]));
        decryptor.finish(&mut self.plain)?;
        self.frames(visit)?;
        ensure!(self.plain.is_empty(), "the file ends within a frame");
        let end = self.end.context("the file has no end")?;
        let state_sha256 = self.hash.finish();
        ensure!(
            end.rows == self.count && end.state_sha256 == state_sha256,
            "the file does not hold the rows that it says"
        );
        let header = self.header.context("the file has no header")?;
        let (cluster_keys, pool_keys) = (self.cluster_keys, self.pool_keys);
        Ok(Contents { header, rows: self.count, state_sha256, cluster_keys, pool_keys })
    }

    fn frames(&mut self, visit: Visit<'_>) -> Result<()> {
        let mut from = 0;
        while let Some((length, rest)) =
            self.plain.get(from..).and_then(|rest| rest.split_first_chunk::<4>())
        {
            let length = u32::from_be_bytes(*length) as usize;
            ensure!(length <= FRAME_BYTES_MAX, "a frame is too large");
            let Some(frame) = rest.get(..length) else { break };
            let part = Frame::decode(frame)?.part;
            from += 4 + length;
            ensure!(self.end.is_none(), "something follows the end");
            match (part, &self.header) {
                (Some(Part::Header(header)), None) => {
                    ensure!(
                        header.format == FORMAT,
                        "format {} is not one that this version reads",
                        header.format
                    );
                    self.header = Some(header);
                }
                (Some(Part::Rows(rows)), Some(_)) => {
                    for row in &rows.rows {
                        self.hash.row(&row.key, &row.value);
                        self.count += 1;
                        visit(&row.key, &row.value)?;
                    }
                }
                (Some(Part::ClusterKeys(keys)), Some(_)) => self.cluster_keys = Some(keys),
                (Some(Part::PoolKeys(keys)), Some(_)) => self.pool_keys = Some(keys),
                (Some(Part::End(end)), Some(_)) => self.end = Some(end),
                _ => bail!("a frame is not where it should be, or of a later version"),
            }
        }
        self.plain.drain(..from).for_each(drop);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use conclave_crypto::testing::SeededEntropy;

    use super::*;

    fn rows() -> Vec<(Vec<u8>, Vec<u8>)> {
        let value = |i: u32| vec![i.to_le_bytes()[0]; (i as usize * 37) % 3_000];
        (0..500_u32).map(|i| (i.to_be_bytes().to_vec(), value(i))).collect()
    }

    fn written(identity: &Identity, rows: &[(Vec<u8>, Vec<u8>)]) -> (Vec<u8>, [u8; 32]) {
        let header = Header { format: FORMAT, group: 3, ..Header::default() };
        let mut writer =
            Writer::new(header, &[identity.recipient()], &SeededEntropy::new(2)).expect("begins");
        let mut file = Vec::new();
        for (key, value) in rows {
            writer.row(key, value).expect("writes");
            if writer.waiting() > 100_000 {
                file.extend(writer.take());
            }
        }
        let (rest, count, hash) = writer.finish().expect("ends");
        assert_eq!(count, rows.len() as u64);
        file.extend(rest);
        (file, hash)
    }

    #[test]
    fn a_file_reads_back_row_by_row_with_the_same_hash() {
        let identity = Identity::generate(&SeededEntropy::new(1)).expect("is made");
        let rows = rows();
        let (file, hash) = written(&identity, &rows);
        let mut read = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            read.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        let identities = [identity];
        let mut reader = Reader::new(&identities);
        for piece in file.chunks(50_000) {
            reader.feed(piece, &mut visit).expect("reads");
        }
        let contents = reader.finish(&mut visit).expect("ends");
        assert_eq!((contents.header.group, contents.rows, contents.state_sha256), (3, 500, hash));
        assert_eq!(read, rows);
        let mut direct = StateHash::default();
        rows.iter().for_each(|(key, value)| direct.row(key, value));
        assert_eq!(direct.finish(), hash);
    }

    #[test]
    fn a_file_without_its_end_is_not_taken_for_whole() {
        let identity = Identity::generate(&SeededEntropy::new(1)).expect("is made");
        let header = Header { format: FORMAT, ..Header::default() };
        let mut encryptor = {
            let (mut encryptor, mut out) =
                Encryptor::new(&[identity.recipient()], &SeededEntropy::new(2)).expect("begins");
            let frame = Frame { part: Some(Part::Header(header)) }.encode_to_vec();
            encryptor.write(&(frame.len() as u32).to_be_bytes(), &mut out).expect("writes");
            encryptor.write(&frame, &mut out).expect("writes");
            (encryptor, out)
        };
        encryptor.0.finish(&mut encryptor.1).expect("ends");
        let identities = [identity];
        let mut reader = Reader::new(&identities);
        reader.feed(&encryptor.1, &mut |_, _| Ok(())).expect("reads");
        let refused = reader.finish(&mut |_, _| Ok(())).err().expect("is refused").to_string();
        assert!(refused.contains("no end"), "{refused}");
    }
}
