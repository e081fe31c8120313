//! What the kernel says of this process, by the names that Prometheus' own clients use.

use std::fs;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::registered;

/// Linux counts the time of processes in these for all programs, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessSeries {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    virtual_: Gauge,
    threads: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    start: Gauge<f64, AtomicU64>,
}

impl ProcessSeries {
    pub(super) fn new(into: &mut Registry) -> Self {
        let mut gauge = |name, help| registered(into, name, help, Gauge::default());
        Self {
            resident: gauge("resident_memory_bytes", "Memory of this process in RAM"),
            virtual_: gauge("virtual_memory_bytes", "Address space of this process"),
            threads: gauge("threads", "Threads of this process"),
            open_fds: gauge("open_fds", "Open file descriptors"),
            max_fds: gauge("max_fds", "Most file descriptors that may be open"),
            cpu: registered(
                into,
                "cpu_seconds",
                "Processor time that this process has used, in user and kernel mode",
                Counter::default(),
            ),
            start: registered(
                into,
                "start_time_seconds",
                "When this process started, in Unix time",
                Gauge::default(),
            ),
        }
    }

    pub(super) fn started(&self, at: f64) {
        self.start.set(at);
    }

    /// What can't be read stays as it was.
    pub(super) fn read(&self) {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let status = read("status");
        for (gauge, name, unit) in [
            (&self.resident, "VmRSS:", 1024),
            (&self.virtual_, "VmSize:", 1024),
            (&self.threads, "Threads:", 1),
        ] {
            if let Some(value) = number_after(&status, name) {
                gauge.set(value * unit);
            }
        }
        if let Some(value) = number_after(&read("limits"), "Max open files") {
            self.max_fds.set(value);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // The one that lists them is among them.
            let open = open.count().saturating_sub(1);
            self.open_fds.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
        if let Some(ticks) = ticks(&read("stat")) {
            let used = ticks / TICKS_PER_SECOND - self.cpu.get();
            self.cpu.inc_by(used.max(0.0));
        }
    }
}

/// The number after `name`, which begins a line.
fn number_after(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The sum of the 14th and the 15th field of `stat`. The 2nd one is the program's name in brackets.
fn ticks(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        let series = ProcessSeries::new(&mut Registry::default());
        let file = fs::File::open("/proc/self/stat").expect("Linux");
        series.read();
        let fds = series.open_fds.get();
        assert!(fds > 2 && fds <= series.max_fds.get(), "{fds}");
        drop(file);
        let resident = series.resident.get();
        assert!(
            resident > 1 << 20 && resident < series.virtual_.get(),
            "{resident}"
        );
        assert!(series.threads.get() > 0);
    }

    #[test]
    fn a_programs_name_may_have_anything_in_it() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(
            number_after("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"),
            Some(12)
        );
    }
}
