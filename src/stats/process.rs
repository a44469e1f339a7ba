//! What this process uses of the machine, as `/proc` says it, under the names that every Prometheus client gives it.
//!
//! What cannot be read is left out.

use std::fs;

use super::list::{Family, Kind, Sample};

/// The unit of the times in `/proc/self/stat`: Linux shows a hundredth of a second to programs, whatever its own clock.
const TICKS: f64 = 100.0;

const CPU: Family = Family { name: "process_cpu_seconds", kind: Kind::Counter, help: "User and system CPU time." };
const RESIDENT: Family = Family::gauge("process_resident_memory_bytes", "Resident memory.");
const OPEN_FDS: Family = Family::gauge("process_open_fds", "Open file descriptors.");
const MAX_FDS: Family = Family::gauge("process_max_fds", "The most file descriptors that may be open.");
const STARTED: Family = Family::gauge("process_start_time_seconds", "When the process was started, since 1970.");
const THREADS: Family = Family::gauge("process_threads", "Threads.");

/// The samples of this process.
pub(super) fn samples() -> Vec<Sample> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = [
        (CPU, cpu_ticks(&stat).map(|ticks| ticks / TICKS)),
        (RESIDENT, after(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024.0)),
        (OPEN_FDS, open_files()),
        (MAX_FDS, after(&limits, "Max open files")),
        (STARTED, field(&stat, 22).zip(after(&machine, "btime")).map(|(ticks, boot)| boot + ticks / TICKS)),
        (THREADS, after(&status, "Threads:")),
    ];
    let known = numbers.into_iter().filter_map(|(family, number)| Some((family, number?)));
    known.map(|(family, number)| Sample::new(family, Vec::new(), number)).collect()
}

fn cpu_ticks(stat: &str) -> Option<f64> {
    Some(field(stat, 14)? + field(stat, 15)?)
}

/// The field with this number, as proc(5) counts them. The second is the program's name, which may hold spaces.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// The first number after this name at the start of a line.
fn after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<f64> {
    // The folder itself is open while it is read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 4200 5000000 900";
        assert_eq!((cpu_ticks(stat), field(stat, 22)), (Some(300.0), Some(4200.0)));
        assert_eq!(cpu_ticks("no stat"), None);
    }

    #[test]
    fn numbers_are_read_behind_their_names() {
        let text = "Name:\ta\nVmRSS:\t   1024 kB\nMax open files            1024                 4096  files\n";
        assert_eq!(
            ["VmRSS:", "Max open files", "Threads:"].map(|name| after(text, name)),
            [Some(1024.0), Some(1024.0), None]
        );
        assert_eq!(after("Max open files   unlimited", "Max open files"), None);
    }
}
