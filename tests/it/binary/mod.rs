//! The real program, as an operator runs it: processes, signals, exit codes, output.
//!
//! Every test has a folder of its own with settings, keys and queue; the merchants are in the
//! test's process.

mod admin;
mod commands;
mod egress;
mod faults;
mod operate;
mod readers;
mod show;
mod signals;
mod transfer;

pub(super) use admin::{address as admin_address, get};

use crate::secrets::HMAC;
use crate::support::callback::{payment_line as payment, refund_line as refund, with};
use crate::support::place::{Place, SETTINGS, key, lines};
use crate::support::process::{Process, Said, assert_has};
use crate::support::store::{StoreKind, on_both};
use crate::support::waiting::{PATIENCE, found, in_time};
