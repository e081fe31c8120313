//! Tokens of claims: the id of their dispatcher, then random bits.

use crate::store::StoreError;
use crate::store::lease::new_token;

const RANDOM_BITS: u32 = 40;

/// As much of an id as fits before them, with the sign left out.
const OWNER_MASK: i64 = (1 << (i64::BITS - 1 - RANDOM_BITS)) - 1;

/// The dispatcher that a token names, as SQL.
pub(in crate::store::postgres) const OWNER: &str = "(lease_token >> 40)";

/// How a dispatcher is named in its tokens.
pub(super) const fn owner(id: i64) -> i64 {
    id & OWNER_MASK
}

/// A new one of a dispatcher.
pub(super) fn token(id: i64) -> Result<i64, StoreError> {
    let random = new_token()? & ((1 << RANDOM_BITS) - 1);
    Ok((owner(id) << RANDOM_BITS) | random)
}

/// Those that a dispatcher may have made, from the lowest to the highest.
pub(super) const fn tokens_of(id: i64) -> (i64, i64) {
    let lowest = owner(id) << RANDOM_BITS;
    (lowest, lowest | ((1 << RANDOM_BITS) - 1))
}
