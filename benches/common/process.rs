//! Other processes, and what the kernel says of them.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// Linux counts CPU time for programs in hundredths of a second, whatever its own tick is.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads so far, those that have ended included, in user and kernel mode.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    // The 12th and 13th field behind the name.
    ticks(pid, 11)
}

/// The sum of two fields of /proc/PID/stat, of which the `first` counts from the name.
pub(crate) fn ticks(pid: u32, first: usize) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may have spaces in it.
    let (_, fields) = stat.rsplit_once(')').context("a name in /proc/PID/stat")?;
    let ticks = fields
        .split_whitespace()
        .skip(first)
        .take(2)
        .map(str::parse::<u32>)
        .sum::<Result<u32, _>>()?;
    Ok(TICK * ticks)
}

/// The most memory that was resident so far, in bytes.
pub(crate) fn peak_rss(pid: u32) -> Result<u64> {
    let kib = field(&format!("/proc/{pid}/status"), "VmHWM:")?;
    Ok(kib.trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Bytes read and written so far, by whatever call.
pub(crate) fn io(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    Ok(field(&path, "rchar:")?.parse::<u64>()? + field(&path, "wchar:")?.parse::<u64>()?)
}

fn field(path: &str, key: &str) -> Result<String> {
    let text = fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    Ok(value
        .with_context(|| format!("{key} in {path}"))?
        .trim()
        .to_owned())
}

/// The wall clock, which all processes of this machine share.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured here is shorter than the milliseconds of a `Clock`"
)]
pub(crate) fn wall_nanos() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos().cast_signed())
}

/// This program in another role. It ends when its standard input does.
pub(crate) fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg(name).stdin(Stdio::piped());
    command
}

/// Ends a role.
pub(crate) fn end(child: &mut Child) -> Result<()> {
    drop(child.stdin.take());
    let status = child.wait()?;
    ensure!(status.success(), "a role ended with {status}");
    Ok(())
}
