//! Who is asked about first, how often, and for how long an answer counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Instant;

use super::*;

/// A user whose answers are programs, and the prompts that they saw.
struct User {
    directory: tempfile::TempDir,
    confirm: Confirm,
    now: Now,
    connections: ConnectionId,
}

impl User {
    /// A user who runs this command at each prompt, and whose yes is remembered for
    /// `hold` seconds.
    fn who(command: &str, hold: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("askpass");
        let log = directory.path().join("prompts");
        let script = format!("#!/bin/sh\necho \"$1\" >>{}\n{command}\n", log.display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            directory,
            confirm: Confirm::new(PromptMethod::Program(path), Duration::from_secs(hold)),
            now: Now {
                since_boot: Duration::from_secs(1000),
                wall: 1000,
            },
            connections: 0,
        }
    }

    fn request(&mut self, peer: Peer, local: bool, name: &str) -> ConnectionId {
        self.connections += 1;
        let request = ConfirmRequest {
            connection: self.connections,
            peer,
            key: [0; 16],
            digest: [0; 32],
            local,
            identity: name.to_owned(),
        };
        self.confirm.submit(request, self.now);
        self.connections
    }

    /// The next decision, and whose it is.
    fn decision(&mut self) -> (String, ConfirmDecision) {
        let begun = Instant::now();
        loop {
            if let Some((request, decision)) = self.confirm.poll(self.now) {
                return (request.identity, decision);
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no decision");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn ask(&mut self, peer: Peer, local: bool) -> ConfirmDecision {
        self.request(peer, local, "x");
        self.decision().1
    }

    fn prompts(&self) -> usize {
        fs::read_to_string(self.directory.path().join("prompts"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    /// Waits until this many prompts were shown.
    fn sees(&self, prompts: usize) {
        let begun = Instant::now();
        while self.prompts() < prompts {
            assert!(begun.elapsed() < Duration::from_secs(20), "no prompt");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now.since_boot += time;
    }
}

fn process(pid: u32, start: u64) -> Peer {
    Peer {
        pid,
        start: Some(start),
    }
}

const SSH: Peer = Peer {
    pid: 70_001,
    start: Some(1),
};

use ConfirmDecision::{Denied, Granted};

#[test]
fn requests_of_this_machine_come_first() {
    let mut user = User::who("exit 0", 0);
    for (number, name) in ["shown", "far 1", "far 2", "far 3"].into_iter().enumerate() {
        let ssh = process(70_001 + u32::try_from(number).unwrap(), 1);
        user.request(ssh, false, name);
    }
    for (number, name) in ["local 1", "local 2"].into_iter().enumerate() {
        user.request(
            process(80_001 + u32::try_from(number).unwrap(), 1),
            true,
            name,
        );
    }
    let order: Vec<String> = (0..6).map(|_| user.decision().0).collect();
    assert_eq!(
        order,
        ["shown", "local 1", "local 2", "far 1", "far 2", "far 3"]
    );
}

#[test]
fn one_process_has_few_requests_waiting() {
    let mut user = User::who("exit 0", 0);
    for number in 0..7 {
        user.request(SSH, false, &number.to_string());
    }
    // Those that are too many are denied at once, without a prompt.
    let denied: Vec<_> = (0..3).map(|_| user.decision()).collect();
    assert!(denied.iter().all(|(_, decision)| *decision == Denied));
    let names: Vec<&str> = denied.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["4", "5", "6"]);
    // Another process is not affected.
    user.request(process(80_001, 1), true, "local");
    for name in ["0", "local", "1", "2", "3"] {
        assert_eq!(user.decision(), (name.to_owned(), Granted));
    }
    assert_eq!(user.prompts(), 5);
}

#[test]
fn a_full_queue_has_room_for_this_machine() {
    let mut user = User::who("exec sleep 60", 0);
    for pid in 0..u32::try_from(MAX_REQUESTS).unwrap() + 1 {
        user.request(process(70_000 + pid, 1), false, "far");
    }
    user.request(process(90_000, 1), false, "too many");
    assert_eq!(user.decision(), ("too many".to_owned(), Denied));
    user.request(process(90_001, 1), true, "local");
    assert_eq!(user.decision(), ("far".to_owned(), Denied));
    assert_eq!(user.confirm.queue.front().unwrap().identity, "local");
    assert_eq!(user.confirm.queue.len(), MAX_REQUESTS);
}

#[test]
fn a_no_is_remembered_for_that_process_and_that_time() {
    for (peer, local) in [(SSH, false), (process(80_001, 1), true)] {
        let mut user = User::who("exit 1", 60);
        assert_eq!(user.ask(peer, local), Denied);
        assert_eq!(user.prompts(), 1);
        user.wait(NO_HOLD - Duration::from_secs(1));
        assert_eq!(user.ask(peer, local), Denied);
        assert_eq!(user.prompts(), 1, "asked again");
        // Its number, used again by another process, is another one.
        assert_eq!(user.ask(process(peer.pid, 2), local), Denied);
        assert_eq!(user.prompts(), 2);
        user.wait(Duration::from_secs(1));
        assert_eq!(user.ask(peer, local), Denied);
        assert_eq!(user.prompts(), 3);
    }
}

/// Requests that wait behind a no of the same process are no further questions.
#[test]
fn a_no_is_for_all_that_wait() {
    let mut user = User::who("exit 1", 0);
    for _ in 0..4 {
        user.request(SSH, false, "x");
    }
    for _ in 0..4 {
        assert_eq!(user.decision().1, Denied);
    }
    assert_eq!(user.prompts(), 1);
}

#[test]
fn no_answer_is_a_no() {
    let mut user = User::who("exec sleep 60", 0);
    user.request(SSH, false, "x");
    user.sees(1);
    user.wait(CONFIRM_TIMEOUT);
    assert_eq!(user.decision().1, Denied);
    assert_eq!(user.ask(SSH, false), Denied);
    assert_eq!(user.prompts(), 1);
}

/// Without a way to prompt the user has not said no.
#[test]
fn a_prompt_that_is_not_shown_is_not_remembered() {
    let mut user = User::who("exit 0", 0);
    let program = user.directory.path().join("askpass");
    let away = user.directory.path().join("away");
    fs::rename(&program, &away).unwrap();
    assert_eq!(user.ask(SSH, false), Denied);
    fs::rename(&away, &program).unwrap();
    assert_eq!(user.ask(SSH, false), Granted);
}

#[test]
fn a_yes_is_remembered_for_the_process_and_not_for_its_number() {
    let mut user = User::who("exit 0", 60);
    assert_eq!(user.ask(SSH, false), Granted);
    assert_eq!(user.ask(SSH, false), Granted);
    assert_eq!(user.prompts(), 1);
    assert_eq!(user.ask(process(SSH.pid, 2), false), Granted);
    assert_eq!(
        user.prompts(),
        2,
        "another process with the number of the first"
    );
    let unknown = Peer { start: None, ..SSH };
    for prompts in [3, 4] {
        assert_eq!(user.ask(unknown, false), Granted);
        assert_eq!(
            user.prompts(),
            prompts,
            "it is not known which process this is"
        );
    }
}

/// A request that is withdrawn while it is on the screen would otherwise ask
/// without ever being refused.
#[test]
fn a_process_that_withdraws_its_requests_is_not_asked_about_for_ever() {
    let mut user = User::who("exec sleep 60", 0);
    for prompts in 1..=MAX_WITHDRAWN {
        let connection = user.request(SSH, false, "x");
        user.sees(prompts);
        user.confirm.forget(connection, user.now);
    }
    assert_eq!(user.ask(SSH, false), Denied);
    assert_eq!(user.prompts(), MAX_WITHDRAWN);
    user.wait(NO_HOLD);
    user.request(SSH, false, "x");
    user.sees(MAX_WITHDRAWN + 1);
}

/// Where the system does not identify processes, the far sides share their answer.
#[test]
fn unknown_far_processes_count_as_one() {
    let unknown = Peer {
        pid: 0,
        start: None,
    };
    let mut user = User::who("exit 1", 0);
    assert_eq!(user.ask(unknown, false), Denied);
    assert_eq!(user.ask(unknown, false), Denied);
    assert_eq!(user.prompts(), 1);
    assert_eq!(user.ask(unknown, true), Denied);
    assert_eq!(user.prompts(), 2, "one of this machine is another");
}
