//! A disk that takes nothing more. These need to mount, so only `scripts/crash-campaign` runs them,
//! as root.
//!
//! | case | what is right |
//! |---|---|
//! | full while it runs | says so; sends only what was claimed before; goes on when there is room |
//! | full when it starts | says so; is not put down for good (no 78); goes on when there is room |
//! | read-only while it runs | says so; sends only what was claimed before; ends when told to |
//! | read-only when it starts | ends and says why |

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::merchants::Behaviour;
use super::program::Program;
use super::world::{World, assert_none};
use super::{SHORT_TIMEOUTS, tally, until};

const BEHAVIOURS: [Behaviour; 3] = [
    Behaviour::Healthy,
    Behaviour::Slow(Duration::from_millis(100)),
    Behaviour::Refusing,
];

#[track_caller]
fn run(command: &mut Command) -> String {
    let done = command.output();
    let done = done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        done.status.success(),
        "this case needs root on a machine that may mount: {command:?}: {done:?}"
    );
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// `mount`, with its options.
fn mount(options: &str) -> Command {
    let mut command = Command::new("mount");
    command.args(["-o", options]);
    command
}

/// A file system of its own; it is taken away when this is dropped.
struct Mount {
    /// For the mount point, and the image behind it.
    directory: TempDir,
}

impl Mount {
    /// In memory, and small.
    fn tmpfs() -> Self {
        let mounted = Self::prepared();
        run(mount("size=24m")
            .args(["-t", "tmpfs", "queue"])
            .arg(mounted.path()));
        mounted
    }

    /// On a disk of its own, which turns read-only at the first error.
    fn ext4() -> Self {
        let mounted = Self::prepared();
        let image = mounted.image();
        let file = File::create(&image).expect("room for an image");
        file.set_len(48 << 20).expect("a sparse file");
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        run(mount("loop,errors=remount-ro")
            .arg(&image)
            .arg(mounted.path()));
        mounted
    }

    fn prepared() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        fs::create_dir(directory.path().join("mount")).expect("our directory");
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// What is not the queue's own is to be there afterwards, too.
    fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(self.path()));
    }

    /// As after an error of the disk: open files can't be written any more either.
    fn breaks(&self) {
        let device = run(Command::new("findmnt")
            .args(["-n", "-o", "SOURCE"])
            .arg(self.path()));
        let name = Path::new(device.trim()).file_name().expect("a device");
        let trigger = Path::new("/sys/fs/ext4")
            .join(name)
            .join("trigger_fs_error");
        fs::write(trigger, "as a test of read-only file systems").expect("root may");
    }

    /// What an operator does then.
    fn is_repaired(&self) {
        run(Command::new("umount").arg(self.path()));
        let checked = Command::new("fsck.ext4")
            .arg("-y")
            .arg(self.image())
            .output();
        let checked = checked.expect("fsck.ext4 is there");
        // 1: errors were found and corrected.
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
        run(mount("loop").arg(self.image()).arg(self.path()));
    }

    fn remount(&self, how: &str) {
        run(mount(&format!("remount,{how}")).arg(self.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a test that fails has the queue open still.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

async fn world_on(mount: &Mount) -> World {
    let spare = TempDir::new().expect("a temporary directory");
    World::at(mount.path(), spare, &BEHAVIOURS, SHORT_TIMEOUTS).await
}

/// Takes all the room that there is. It is given back when the file is removed.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut filler = File::create(&path).expect("an entry");
    for size in [1 << 16, 1 << 12, 1] {
        let chunk = vec![0; size];
        loop {
            match filler.write_all(&chunk) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    path
}

/// Returns when nothing more is POSTed.
async fn silence(world: &World) {
    loop {
        let before = world.journal.count();
        tokio::time::sleep(Duration::from_secs(3)).await;
        if world.journal.count() == before {
            return;
        }
    }
}

/// Whether each thread is stopped by a signal, and so in no system call: state `T` in
/// proc_pid_stat(5).
fn stands_still(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("our child");
    let mut threads = threads.map(|thread| thread.expect("our child").path());
    threads.all(|thread| {
        let stat = fs::read_to_string(thread.join("stat")).expect("our child");
        // The thread's name, in parentheses, may hold anything.
        let (_, after_the_name) = stat.rsplit_once(") ").expect("a line of proc_pid_stat(5)");
        after_the_name.starts_with('T')
    })
}

#[ignore = "mounts; scripts/crash-campaign runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_waited_for() {
    let mount = Mount::tmpfs();
    let world = world_on(&mount).await;
    world.queue(2500);
    let mut daemon = Program::default().start(&world);
    until("POSTs", || world.journal.count() > 50).await;
    let filler = fill(world.folder());
    daemon.says("the disk or the database is full").await;
    silence(&world).await;
    assert_none(&world.faults_since(0));
    assert!(
        world.count("state = 'pending'") > 0,
        "the disk was full too late"
    );
    assert_eq!(daemon.ended(), None, "{}", daemon.said());

    fs::remove_file(filler).expect("our file");
    world.until_nothing_is_pending(&mut daemon).await;
    daemon.ready().await.stops().await;
    assert_none(&world.faults_in_the_end());
    assert_eq!(world.interrupted(), 0, "nothing was taken for lost");
    tally::passed("disk full while it runs");
}

#[ignore = "mounts; scripts/crash-campaign runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_is_not_the_end() {
    let mount = Mount::tmpfs();
    let world = world_on(&mount).await;
    world.queue(300);
    let mut daemon = Program::default().start(&world);
    until("POSTs", || world.journal.count() > 20).await;
    daemon.kill();
    let filler = fill(world.folder());
    let mut daemon = Program::default().start(&world);
    let mut status = None;
    until("it ends, or says that the disk is full", || {
        status = daemon.ended();
        status.is_some() || daemon.said().contains("full")
    })
    .await;
    let said = daemon.said();
    if let Some(status) = status {
        // 78 would tell systemd to leave it down when there is room again.
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("full"), "{said}");
    }
    drop(daemon);
    assert_none(&world.faults_since(0));
    fs::remove_file(filler).expect("our file");
    world.ends_well().await;
    tally::passed("disk full when it starts");
}

#[ignore = "mounts; scripts/crash-campaign runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_turns_read_only_stops_the_sending() {
    let mount = Mount::ext4();
    let world = world_on(&mount).await;
    world.queue(2500);
    mount.sync();
    let mut daemon = Program::default().start(&world);
    until("POSTs", || world.journal.count() > 50).await;
    // Between two system calls: for some milliseconds Linux's ext4 answers "done" to an fdatasync
    // that the aborted journal has swallowed, whoever asks (docs/reliability.md).
    daemon.signal("STOP");
    until("each thread stands still", || stands_still(daemon.pid())).await;
    mount.breaks();
    daemon.signal("CONT");
    daemon.says("nothing is claimed").await;
    silence(&world).await;
    assert_eq!(daemon.ended(), None, "{}", daemon.said());
    daemon.ready().await.stops().await;

    mount.is_repaired();
    assert_none(&world.faults_since(0));
    assert!(
        world.count("state = 'pending'") > 0,
        "it turned read-only too late"
    );
    world.ends_well().await;
    tally::passed("read-only while it runs");
}

#[ignore = "mounts; scripts/crash-campaign runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_read_only_file_system_says_so() {
    let mount = Mount::tmpfs();
    let world = world_on(&mount).await;
    world.queue(20);
    mount.remount("ro");
    let mut daemon = Program::default().start(&world);
    let status = daemon.ends().await;
    let said = daemon.said();
    assert_eq!(status.code(), Some(78), "{said}");
    for word in ["queue.db", "ead-only"] {
        assert!(said.contains(word), "no {word:?}: {said}");
    }
    assert_eq!(world.journal.count(), 0, "nothing was sent");
    mount.remount("rw");
    world.ends_well().await;
    tally::passed("read-only when it starts");
}
