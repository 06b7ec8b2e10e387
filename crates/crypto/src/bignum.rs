//! Arithmetic modulo the 3072-bit safe prime that Cognito's SRP uses (RFC 3526, section 4; RFC
//! 5054, appendix A), on the big numbers of aws-lc, which `aws-lc-rs` does not expose. All
//! operations run in constant time for operands of a given length.
#![allow(
    unsafe_code,
    reason = "aws-lc has no safe binding for big numbers; every block says why it is sound"
)]

use std::fmt;
use std::ptr::NonNull;
use std::sync::OnceLock;

use aws_lc_sys as sys;
use zeroize::Zeroize;

use crate::mac;

/// Length of the modulus and of every element, in bytes.
pub const LEN: usize = 384;

/// The modulus N, big-endian.
#[rustfmt::skip]
pub const MODULUS: [u8; LEN] = hex_array(
    b"FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
      020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
      4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
      EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05\
      98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB\
      9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
      E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718\
      3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33\
      A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
      ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864\
      D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E2\
      08E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
);

/// aws-lc could not allocate memory. Nothing that a caller passes can cause another failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("big-number arithmetic failed")]
pub struct BignumError;

/// A number below N, always 384 bytes long. Wiped on drop, as most of them are secret.
#[derive(Clone)]
pub struct Element([u8; LEN]);

impl Element {
    /// The generator g.
    pub const fn two() -> Self {
        let mut bytes = [0; LEN];
        bytes[LEN - 1] = 2;
        Self(bytes)
    }

    /// A big-endian number of at most 384 bytes, leading zeros aside. `None` if it is N or more.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let excess = bytes.len().saturating_sub(LEN);
        let (leading, number) = bytes.split_at_checked(excess)?;
        if leading.iter().any(|&byte| byte != 0) {
            return None;
        }
        let mut out = Self([0; LEN]);
        for (to, from) in out.0.iter_mut().rev().zip(number.iter().rev()) {
            *to = *from;
        }
        out.is_reduced().then_some(out)
    }

    /// Big-endian, 384 bytes.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Big-endian without leading zero bytes; empty for zero.
    pub fn minimal_bytes(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|&&byte| byte == 0).count();
        self.0.get(zeros..).unwrap_or_default()
    }

    /// Whether this is zero.
    pub fn is_zero(&self) -> bool {
        mac::ct_eq(&self.0, &[0; LEN])
    }

    /// Whether the number is below N: the borrow of the subtraction of N, without branches on the
    /// value.
    fn is_reduced(&self) -> bool {
        let mut borrow = 0i16;
        for (a, n) in self.0.iter().zip(MODULUS).rev() {
            borrow = (i16::from(*a) - i16::from(n) + borrow) >> 8;
        }
        borrow != 0
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        mac::ct_eq(&self.0, &other.0)
    }
}

impl Eq for Element {}

/// `base ^ exponent mod N`; `exponent` is big-endian, and only its length shows in the running
/// time.
pub fn mod_exp(base: &Element, exponent: &[u8]) -> Result<Element, BignumError> {
    let group = group()?;
    let base = Number::new(base.as_bytes())?;
    let exponent = Number::new(exponent)?;
    let result = Number::new(&[])?;
    let context = Context::new()?;
    // SAFETY: all pointers come from live owners and are non-null; `result` is distinct from the
    // inputs; the Montgomery context belongs to the same modulus and is only read.
    let done = unsafe {
        sys::BN_mod_exp_mont_consttime(
            result.as_ptr(),
            base.as_ptr(),
            exponent.as_ptr(),
            group.modulus.as_ptr(),
            context.as_ptr(),
            group.montgomery.as_ptr(),
        )
    };
    result.finish(done)
}

/// `a * b mod N`.
pub fn mod_mul(a: &Element, b: &Element) -> Result<Element, BignumError> {
    let group = group()?;
    let a = Number::new(a.as_bytes())?;
    let b = Number::new(b.as_bytes())?;
    let a_montgomery = Number::new(&[])?;
    let result = Number::new(&[])?;
    let context = Context::new()?;
    // a is brought into Montgomery form, b is not: the factor that the multiplication removes is
    // the one that a has gained, and what remains is the plain product. SAFETY: all pointers come
    // from live owners and are non-null; outputs are distinct from inputs; the Montgomery context
    // is only read; both factors are below N, as `Element` guarantees.
    let done = unsafe {
        let converted = sys::BN_to_montgomery(
            a_montgomery.as_ptr(),
            a.as_ptr(),
            group.montgomery.as_ptr(),
            context.as_ptr(),
        );
        if converted == 1 {
            sys::BN_mod_mul_montgomery(
                result.as_ptr(),
                a_montgomery.as_ptr(),
                b.as_ptr(),
                group.montgomery.as_ptr(),
                context.as_ptr(),
            )
        } else {
            0
        }
    };
    result.finish(done)
}

/// `a + b mod N`.
pub fn mod_add(a: &Element, b: &Element) -> Result<Element, BignumError> {
    let group = group()?;
    let a = Number::new(a.as_bytes())?;
    let b = Number::new(b.as_bytes())?;
    let result = Number::new(&[])?;
    // SAFETY: all pointers come from live owners and are non-null; `result` is distinct from the
    // inputs; both summands are below N, as `Element` guarantees.
    let done = unsafe {
        sys::BN_mod_add_quick(result.as_ptr(), a.as_ptr(), b.as_ptr(), group.modulus.as_ptr())
    };
    result.finish(done)
}

/// An owned BIGNUM, wiped when it is freed.
struct Number(NonNull<sys::BIGNUM>);

impl Number {
    /// A number as wide as `bytes` is long: aws-lc keeps leading zeros, so its running time does
    /// not show them.
    fn new(bytes: &[u8]) -> Result<Self, BignumError> {
        // SAFETY: the pointer and the length describe a live slice, which is only read; a null
        // third argument asks for a new number, which the wrapper owns from here on.
        let number = unsafe { sys::BN_bin2bn(bytes.as_ptr(), bytes.len(), std::ptr::null_mut()) };
        NonNull::new(number).map(Self).ok_or_else(failed)
    }

    fn as_ptr(&self) -> *mut sys::BIGNUM {
        self.0.as_ptr()
    }

    /// Reads the number out if the operation that wrote it has succeeded.
    fn finish(self, done: std::ffi::c_int) -> Result<Element, BignumError> {
        if done != 1 {
            return Err(failed());
        }
        let mut out = Element([0; LEN]);
        // SAFETY: the pointer and the length describe a live, writable array; the number is live.
        let written = unsafe { sys::BN_bn2bin_padded(out.0.as_mut_ptr(), LEN, self.as_ptr()) };
        if written == 1 { Ok(out) } else { Err(failed()) }
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned by this wrapper and freed once.
        unsafe { sys::BN_clear_free(self.0.as_ptr()) }
    }
}

/// An owned BN_CTX: scratch space of one call.
struct Context(NonNull<sys::BN_CTX>);

impl Context {
    fn new() -> Result<Self, BignumError> {
        // SAFETY: the function takes nothing; the wrapper owns what it returns.
        NonNull::new(unsafe { sys::BN_CTX_new() }).map(Self).ok_or_else(failed)
    }

    fn as_ptr(&self) -> *mut sys::BN_CTX {
        self.0.as_ptr()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned by this wrapper and freed once.
        unsafe { sys::BN_CTX_free(self.0.as_ptr()) }
    }
}

/// The modulus and what Montgomery multiplication needs to know of it; made once, never freed.
struct Group {
    modulus: Number,
    montgomery: NonNull<sys::BN_MONT_CTX>,
}

// SAFETY: both parts are written only while they are made, before they are shared. Afterwards they
// are passed to aws-lc as `const` only, which does not write to them; it shares those of an RSA key
// between threads in the same way.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

fn group() -> Result<&'static Group, BignumError> {
    static GROUP: OnceLock<Option<Group>> = OnceLock::new();
    GROUP
        .get_or_init(|| {
            let modulus = Number::new(&MODULUS).ok()?;
            let context = Context::new().ok()?;
            // SAFETY: both pointers come from live owners; the static owns what is returned.
            let montgomery =
                unsafe { sys::BN_MONT_CTX_new_for_modulus(modulus.as_ptr(), context.as_ptr()) };
            Some(Group { modulus, montgomery: NonNull::new(montgomery)? })
        })
        .as_ref()
        .ok_or_else(failed)
}

/// Empties the thread's error queue, as the next user of aws-lc on this thread must not find our
/// error there.
fn failed() -> BignumError {
    // SAFETY: the function takes nothing and touches only the queue of this thread.
    unsafe { sys::ERR_clear_error() };
    BignumError
}

/// Decodes upper-case hexadecimal at compile time.
const fn hex_array<const N: usize>(text: &[u8]) -> [u8; N] {
    assert!(text.len() == 2 * N, "two digits for each byte");
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]);
        i += 1;
    }
    out
}

const fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'A'..=b'F' => digit - b'A' + 10,
        _ => panic!("not an upper-case hexadecimal digit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, bytes};
    use crate::testing::SeededEntropy;

    fn small(value: u64) -> Element {
        Element::from_bytes(&value.to_be_bytes()).unwrap()
    }

    fn modulus_minus(value: u8) -> Element {
        let mut bytes = MODULUS;
        bytes[LEN - 1] -= value;
        Element::from_bytes(&bytes).unwrap()
    }

    fn random(source: &dyn Entropy) -> Element {
        let mut bytes: [u8; LEN] = bytes(source);
        bytes[0] &= 0x7f;
        Element::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn small_numbers_are_computed_as_on_paper() {
        assert_eq!(mod_exp(&small(3), &[5]).unwrap(), small(243));
        assert_eq!(mod_exp(&small(3), &[0, 0, 0, 5]).unwrap(), small(243));
        assert_eq!(mod_mul(&small(1 << 40), &small(1 << 20)).unwrap(), small(1 << 60));
        assert_eq!(mod_add(&small(40), &small(2)).unwrap(), small(42));
    }

    #[test]
    fn exponents_zero_and_none_give_one() {
        assert_eq!(mod_exp(&small(7), &[0; 32]).unwrap(), small(1));
        assert_eq!(mod_exp(&small(7), &[]).unwrap(), small(1));
        assert_eq!(mod_exp(&small(0), &[9]).unwrap(), small(0));
    }

    #[test]
    fn results_are_reduced() {
        assert_eq!(mod_add(&modulus_minus(1), &small(1)).unwrap(), small(0));
        assert_eq!(mod_add(&modulus_minus(1), &modulus_minus(2)).unwrap(), modulus_minus(3));
        assert_eq!(mod_mul(&modulus_minus(1), &modulus_minus(1)).unwrap(), small(1));
        assert_eq!(mod_mul(&modulus_minus(1), &small(0)).unwrap(), small(0));
    }

    #[test]
    fn the_modulus_is_the_published_safe_prime() {
        // SHA-256 over the 384 bytes, computed from the text of RFC 3526, section 4
        assert_eq!(
            hex::encode(mac::sha256(&[&MODULUS])),
            "48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c"
        );
        // Fermat: 2^(N-1) = 1, and 2 generates the subgroup of order (N-1)/2
        let mut exponent = MODULUS;
        exponent[LEN - 1] -= 1;
        assert_eq!(mod_exp(&Element::two(), &exponent).unwrap(), small(1));
        let half: Vec<u8> = std::iter::once(0)
            .chain(exponent)
            .collect::<Vec<_>>()
            .windows(2)
            .map(|w| w[0] << 7 | w[1] >> 1)
            .collect();
        assert_eq!(mod_exp(&Element::two(), &half).unwrap(), small(1));
    }

    #[test]
    fn powers_and_products_obey_their_laws() {
        let source = SeededEntropy::new(3);
        for _ in 0..8 {
            let (a, b, c) = (random(&source), random(&source), random(&source));
            let (x, y) = (u32::from_be_bytes(bytes(&source)), u32::from_be_bytes(bytes(&source)));
            let sum = (u64::from(x) + u64::from(y)).to_be_bytes();
            let (x, y) = (x.to_be_bytes(), y.to_be_bytes());
            let split = mod_mul(&mod_exp(&a, &x).unwrap(), &mod_exp(&a, &y).unwrap()).unwrap();
            assert_eq!(mod_exp(&a, &sum).unwrap(), split);
            let left = mod_mul(&mod_add(&a, &b).unwrap(), &c).unwrap();
            let right = mod_add(&mod_mul(&a, &c).unwrap(), &mod_mul(&b, &c).unwrap()).unwrap();
            assert_eq!(left, right);
            assert_eq!(mod_mul(&a, &b).unwrap(), mod_mul(&b, &a).unwrap());
        }
    }

    #[test]
    fn only_numbers_below_the_modulus_are_elements() {
        assert!(Element::from_bytes(&MODULUS).is_none());
        let mut above = MODULUS;
        above[LEN - 1] = 0xff;
        above[0] = 0xff;
        above[8] += 1;
        assert!(Element::from_bytes(&above).is_none());
        assert!(Element::from_bytes(&[0xff; LEN]).is_none());
        assert_eq!(modulus_minus(1).as_bytes()[..LEN - 1], MODULUS[..LEN - 1]);
        assert!(Element::from_bytes(&[&[1], &[0; LEN][..]].concat()).is_none());
    }

    #[test]
    fn leading_zeros_do_not_matter() {
        let long = [&[0; 5][..], modulus_minus(1).as_bytes()].concat();
        assert_eq!(Element::from_bytes(&long).unwrap(), modulus_minus(1));
        assert_eq!(Element::from_bytes(&[]).unwrap(), small(0));
        assert_eq!(small(0x1234).minimal_bytes(), [0x12, 0x34]);
        assert!(small(0).minimal_bytes().is_empty() && small(0).is_zero() && !small(1).is_zero());
    }

    #[test]
    fn many_threads_get_the_same_results() {
        let expected = mod_exp(&small(5), &[0xab; 32]).unwrap();
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| mod_exp(&small(5), &[0xab; 32]).unwrap())).collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), expected);
            }
        });
    }
}
