//! The share of the machine's cpu and memory that this process uses, and how busy the machine is, from `/proc`.
//!
//! Cpu is measured between two looks, in the kernel's own ticks: a process's ticks over everybody's, idle ones included.
//! That needs no clock and no count of cpus. Looks that are too near to one another say nothing, so the last answer holds
//! until enough ticks have passed.

use std::fs;
use std::io;

/// Ticks of all cpus together, idle ones included, that must lie between two looks: a tenth of a second on two cpus.
const FEWEST_TICKS: u64 = 20;

/// Shares of the whole machine, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Of its cpu time, by this process.
    pub cpu: f64,
    /// Of its memory, by this process.
    pub memory: f64,
    /// Of its cpu time, by all.
    pub host_cpu: f64,
    /// Of its memory, by all: what is not available to new processes.
    pub host_memory: f64,
}

/// The counters of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Ticks of all cpus.
    pub cpu: CpuTicks,
    /// Ticks of this process, user and system.
    pub process_ticks: u64,
    /// Memory that this process has in use, in kB.
    pub process_kb: u64,
    /// The machine's memory.
    pub memory: Memory,
}

/// Ticks of all cpus since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTicks {
    /// All.
    pub total: u64,
    /// Those in which nothing was to do.
    pub idle: u64,
}

/// The machine's memory, in kB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All, over zero.
    pub total: u64,
    /// What new processes could have without swapping.
    pub available: u64,
}

impl Look {
    /// Looks now.
    ///
    /// # Errors
    /// If `/proc` is not there or not as Linux has it.
    pub fn now() -> io::Result<Self> {
        fn wanted<T>(file: &str, read: impl FnOnce(&str) -> Option<T>) -> io::Result<T> {
            read(&fs::read_to_string(file)?).ok_or_else(|| io::Error::other(format!("{file} is not as expected")))
        }
        Ok(Self {
            cpu: wanted("/proc/stat", parse_cpu)?,
            process_ticks: wanted("/proc/self/stat", parse_process_ticks)?,
            process_kb: wanted("/proc/self/status", |text| field_kb(text, "VmRSS:"))?,
            memory: wanted("/proc/meminfo", parse_memory)?,
        })
    }
}

/// Reads the line of all cpus in `/proc/stat`. Guests are counted in `user` already.
#[must_use]
pub fn parse_cpu(text: &str) -> Option<CpuTicks> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let idle = ticks.get(3)?.saturating_add(*ticks.get(4).unwrap_or(&0));
    Some(CpuTicks { total: ticks.iter().fold(0, |sum, ticks| sum.saturating_add(*ticks)), idle })
}

/// Reads user and system ticks from `/proc/self/stat`. The second field is the program's name in parentheses, and may hold
/// blanks and parentheses itself.
#[must_use]
pub fn parse_process_ticks(text: &str) -> Option<u64> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()?.saturating_add(ticks()?))
}

/// Reads `/proc/meminfo`.
#[must_use]
pub fn parse_memory(text: &str) -> Option<Memory> {
    let memory = Memory { total: field_kb(text, "MemTotal:")?, available: field_kb(text, "MemAvailable:")? };
    (memory.total > 0).then_some(memory)
}

/// The value of a line such as `VmRSS:     1234 kB`.
fn field_kb(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

/// Turns looks into shares.
#[derive(Debug, Default)]
pub struct Meter {
    last: Option<Look>,
    usage: Usage,
}

impl Meter {
    /// The shares between the last look that counted and this one; cpu is 0 before the second.
    pub fn usage(&mut self, look: Look) -> Usage {
        self.usage.memory = share(look.process_kb, look.memory.total);
        self.usage.host_memory = 1.0 - share(look.memory.available, look.memory.total);
        let last = *self.last.get_or_insert(look);
        let ticks = look.cpu.total.saturating_sub(last.cpu.total);
        if ticks >= FEWEST_TICKS {
            self.usage.cpu = share(look.process_ticks.saturating_sub(last.process_ticks), ticks);
            self.usage.host_cpu = 1.0 - share(look.cpu.idle.saturating_sub(last.cpu.idle), ticks);
            self.last = Some(look);
        }
        self.usage
    }
}

/// `part` of `whole`, which is over zero; counters of different files may be a moment apart, hence at most 1.
fn share(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(total: u64, idle: u64, process_ticks: u64) -> Look {
        let memory = Memory { total: 1000, available: 600 };
        Look { cpu: CpuTicks { total, idle }, process_ticks, process_kb: 50, memory }
    }

    #[test]
    fn cpu_ticks_of_the_machine() {
        let text = "cpu  10 1 5 80 4 0 0 0 7 7\ncpu0 10 1 5 80 4 0 0 0 7 7\nintr 1\n";
        assert_eq!(parse_cpu(text), Some(CpuTicks { total: 100, idle: 84 }));
        for bad in ["", "cpu0 1 2 3 4 5", "cpu 1 2 3", "cpu a b c d e"] {
            assert_eq!(parse_cpu(bad), None, "{bad}");
        }
    }

    #[test]
    fn ticks_of_the_process_whatever_its_name() {
        let fields = "R 1 2 3 4 5 6 7 8 9 10 120 30 0 0";
        assert_eq!(parse_process_ticks(&format!("42 (a) {fields}")), Some(150));
        assert_eq!(parse_process_ticks(&format!("42 (a b) 7 (c)) {fields}")), Some(150));
        for bad in ["", "42 a R 1 2", "42 (a) R 1 2 3", "42 (a) R 1 2 3 4 5 6 7 8 9 10 x 30"] {
            assert_eq!(parse_process_ticks(bad), None, "{bad}");
        }
    }

    #[test]
    fn memory_of_the_machine() {
        let text = "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    600 kB\n";
        assert_eq!(parse_memory(text), Some(Memory { total: 1000, available: 600 }));
        for bad in ["", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: 5 kB\n", "MemTotal: 5\nMemAvailable: 5\n"] {
            assert_eq!(parse_memory(bad), None, "{bad}");
        }
    }

    #[test]
    fn shares_are_measured_between_looks() {
        let mut meter = Meter::default();
        assert_eq!(meter.usage(look(1000, 900, 10)), Usage { cpu: 0.0, memory: 0.05, host_cpu: 0.0, host_memory: 0.4 });
        let busy = meter.usage(look(1100, 950, 35));
        assert_eq!((busy.cpu, busy.host_cpu), (0.25, 0.5));
    }

    #[test]
    fn looks_that_are_too_near_repeat_the_last_shares() {
        let mut meter = Meter::default();
        meter.usage(look(1000, 900, 10));
        let busy = meter.usage(look(1100, 950, 35));
        assert_eq!(meter.usage(look(1101, 950, 36)), busy);
        assert_eq!(meter.usage(look(1119, 969, 36)), busy);
        assert!((meter.usage(look(1200, 1050, 45)).cpu - 0.1).abs() < 1e-12);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let look = Look::now().unwrap();
        assert!(look.cpu.total > look.cpu.idle && look.process_kb > 0 && look.memory.total > look.memory.available);
    }
}
