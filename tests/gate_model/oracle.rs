//! What must hold after a push that was taken, written from the invariants and not
//! from the rule: each commit and each value has to be somebody's who may.
//!
//! It shares no code with the engine: every way is walked by itself, and a state that
//! a push may begin at is looked for among all.

use super::world::{KEY, NONE, POLICY, People, Rule, SRC, Spec, Who, World, bits, three_way};

pub(super) const MAIN: &str = "refs/heads/main";
pub(super) const FILES: [usize; 3] = [POLICY, SRC, KEY];

/// The references, and the policy file if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub main: Option<usize>,
    pub branch: Option<usize>,
    /// The number of the policy in the file.
    pub file: usize,
}

/// A repository and the policies that its trees name.
pub(super) struct Oracle<'a> {
    pub world: &'a World,
    pub specs: &'a [Spec],
    pub is_file: bool,
    pub root: usize,
}

enum Doing {
    Commit,
    Merge,
    Adopt,
}

impl Rule {
    fn who(&self, doing: &Doing) -> Option<Who> {
        match doing {
            Doing::Commit => self.commit,
            Doing::Merge => self.merge,
            Doing::Adopt => self.adopt.map(Who::Only),
        }
    }

    fn is_about(&self, name: &str) -> bool {
        self.refs
            .iter()
            .any(|pattern| match pattern.strip_suffix("**") {
                Some(prefix) => name.starts_with(prefix),
                None => *pattern == name,
            })
    }
}

impl Spec {
    fn rules<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Rule> {
        let rules = self.rules.iter();
        rules.filter(move |rule| !rule.trial && rule.is_about(name))
    }

    /// One rule must speak, and all that speak must allow it.
    fn may(&self, name: &str, signer: People, doing: &Doing, files: &[usize]) -> bool {
        let speaks = |rule: &&Rule| {
            let paths = rule.paths;
            rule.who(doing).is_some()
                && paths.is_none_or(|paths| files.iter().any(|file| paths.contains(file)))
        };
        let speaking: Vec<&Rule> = self.rules(name).filter(speaks).collect();
        let allows = |rule: &&Rule| match rule.who(doing) {
            Some(Who::Anyone) => true,
            Some(Who::Only(people)) => people & signer != NONE,
            None => false,
        };
        let covers = |file: &usize| {
            let mut rules = speaking.iter();
            rules.any(|rule| rule.paths.is_none_or(|paths| paths.contains(file)))
        };
        !speaking.is_empty() && speaking.iter().all(allows) && files.iter().all(covers)
    }

    /// Whether a branch lends to another.
    fn main_lends_to(&self, name: &str) -> bool {
        let mut rules = self.rules(name);
        name != MAIN && rules.all(|rule| rule.from.is_none_or(|from| from == MAIN))
    }
}

impl Oracle<'_> {
    fn reaches(&self, from: usize, to: usize) -> bool {
        self.world.nodes[from].reach >> to & 1 == 1
    }

    /// What lies behind the cut-off.
    fn cut_off(&self, spec: &Spec) -> u64 {
        let at = spec.cut_off.and_then(|id| usize::try_from(id.0).ok());
        at.and_then(|at| self.world.nodes.get(at))
            .map_or(0, |node| node.reach)
    }

    fn files(&self, commit: Option<usize>) -> [u32; 3] {
        commit.map_or([u32::MAX, 0, 0], |commit| self.world.nodes[commit].files)
    }

    fn spec(&self, commit: usize) -> &Spec {
        &self.specs[usize::try_from(self.world.nodes[commit].files[POLICY]).unwrap()]
    }

    /// The parents that a commit joins: what its first one reaches, it does not.
    fn joins(&self, commit: usize) -> Vec<usize> {
        let parents = &self.world.nodes[commit].parents;
        let others = parents.iter().skip(1).copied();
        others
            .filter(|other| !self.reaches(parents[0], *other))
            .collect()
    }

    fn changed(&self, commit: usize) -> Vec<usize> {
        let before = self.files(self.world.nodes[commit].parents.first().copied());
        let now = self.world.nodes[commit].files;
        FILES
            .into_iter()
            .filter(|file| before[*file] != now[*file])
            .collect()
    }

    /// What a commit changes itself: git would have merged it otherwise.
    fn own(&self, commit: usize) -> Vec<usize> {
        let others = self.joins(commit);
        let node = &self.world.nodes[commit];
        let Some(first) = node.parents.first().filter(|_| !others.is_empty()) else {
            return self.changed(commit);
        };
        let ours = self.files(Some(*first));
        let is_own = |file: &usize| {
            let bases = |other: usize| {
                let mut bases: Vec<u32> = self
                    .world
                    .bases(*first, other)
                    .iter()
                    .map(|base| self.world.nodes[*base].files[*file])
                    .collect();
                if bases.is_empty() {
                    bases.push(self.files(None)[*file]);
                }
                bases
            };
            let now = node.files[*file];
            if let [other] = others.as_slice() {
                let theirs = self.files(Some(*other))[*file];
                let mut bases = bases(*other).into_iter();
                return bases.any(|base| three_way(base, ours[*file], theirs) != Some(now));
            }
            // Of more parents: all, but what nobody changed.
            let is_still = |other: &usize| {
                let theirs = self.files(Some(*other))[*file];
                theirs == now || bases(*other).into_iter().all(|base| base == theirs)
            };
            now != ours[*file] || !others.iter().all(is_still)
        };
        FILES.into_iter().filter(|file| is_own(file)).collect()
    }

    /// I2: whether somebody made a commit who may. `direct`: on the line.
    fn is_allowed(&self, spec: &Spec, name: &str, commit: usize, direct: bool) -> bool {
        let signer = self.world.nodes[commit].signer;
        let is_merge = self.world.nodes[commit].parents.len() > 1;
        // A merge that brings nothing and changes something is a commit in disguise.
        if !is_merge || self.joins(commit).is_empty() && !self.changed(commit).is_empty() {
            let mut rules = spec.rules(name).filter(|rule| rule.commit.is_some());
            let is_direct = rules
                .all(|rule| !direct || rule.direct.is_none_or(|people| people & signer != NONE));
            return is_direct && spec.may(name, signer, &Doing::Commit, &self.changed(commit));
        }
        let own = self.own(commit);
        spec.may(name, signer, &Doing::Merge, &self.changed(commit))
            && (own.is_empty() || spec.may(name, signer, &Doing::Commit, &own))
    }

    fn adopts(&self, spec: &Spec, name: &str, merge: usize, files: &[usize]) -> bool {
        let signer = self.world.nodes[merge].signer;
        spec.may(name, signer, &Doing::Adopt, files)
            && spec.may(name, signer, &Doing::Commit, files)
    }

    /// Whether a way leads from `from` to `to` on which no merge counts.
    fn has_free_way(&self, from: usize, to: usize, counts: &dyn Fn(usize) -> bool) -> bool {
        if from == to {
            return true;
        }
        let parents = self.world.nodes[from].parents.iter().enumerate();
        let mut open = parents.filter(|(_, parent)| self.reaches(**parent, to));
        open.any(|(number, parent)| {
            !(number > 0 && counts(from)) && self.has_free_way(*parent, to, counts)
        })
    }

    /// Checks what one step brings, by one policy.
    fn step(
        &self,
        spec: &Spec,
        name: &str,
        before: Option<usize>,
        step: usize,
        lines: u64,
    ) -> Result<(), String> {
        let cut_off = self.cut_off(spec);
        if spec.warn || cut_off >> step & 1 == 1 {
            return Ok(());
        }
        let known = before.map_or(0, |before| self.world.nodes[before].reach);
        let brought = self.world.nodes[step].reach & !known;
        let states = bits(brought & (lines | cut_off));
        let states: Vec<usize> = states.filter(|state| *state != step).collect();
        let behind = states
            .iter()
            .fold(0, |all, state| all | self.world.nodes[*state].reach);
        let gained: Vec<usize> = bits(brought & !behind).collect();
        let adopts = |merge: usize| self.adopts(spec, name, merge, &self.changed(merge));
        for commit in &gained {
            if !self.is_allowed(spec, name, *commit, *commit == step)
                && self.has_free_way(step, *commit, &adopts)
            {
                return Err(format!("I2: commit {commit}, of step {step}"));
            }
            self.counts(spec, name, step, *commit)?;
        }
        // I1
        let (now, was) = (self.files(Some(step)), self.files(before));
        for file in FILES.into_iter().filter(|file| now[*file] != was[*file]) {
            let holds = |commit: usize| self.world.nodes[commit].files[file] == now[file];
            let may = |commit: usize, doing: Doing| {
                spec.may(name, self.world.nodes[commit].signer, &doing, &[file])
            };
            let is_written = gained.iter().any(|commit| {
                holds(*commit) && self.own(*commit).contains(&file) && may(*commit, Doing::Commit)
            });
            let is_lent = may(step, Doing::Merge) && states.iter().any(|state| holds(*state));
            let is_adopted = gained.iter().any(|merge| {
                !self.joins(*merge).is_empty()
                    && holds(*merge)
                    && self.changed(*merge).contains(&file)
                    && self.adopts(spec, name, *merge, &[file])
            });
            if !is_written && !is_lent && !is_adopted {
                return Err(format!("I1: file {file}, of step {step}"));
            }
        }
        Ok(())
    }

    /// Thresholds: enough signers are the author or on every way.
    fn counts(&self, spec: &Spec, name: &str, step: usize, commit: usize) -> Result<(), String> {
        for rule in spec.rules(name) {
            let Some((count, of)) = rule.threshold else {
                continue;
            };
            let own = self.own(commit);
            let is_about = |file: &usize| rule.paths.is_none_or(|paths| paths.contains(file));
            if !own.iter().any(is_about) {
                continue;
            }
            let author = self.world.nodes[commit].signer & of;
            let signs = |person: People| {
                let merges = |merge: usize| self.world.nodes[merge].signer == person;
                author == person || !self.has_free_way(step, commit, &merges)
            };
            let people = (0..4).map(|one| 1 << one).filter(|one| of & one != NONE);
            if people.filter(|one| signs(*one)).count() < count {
                return Err(format!("two persons: commit {commit}, of step {step}"));
            }
        }
        Ok(())
    }

    /// Checks the steps above `base`. `own`: each also by the policy before it, and
    /// I4: the policy changes only by those who may.
    fn steps(
        &self,
        spec: &Spec,
        name: &str,
        base: Option<usize>,
        new: usize,
        lines: u64,
        own: bool,
    ) -> Result<(), String> {
        let known = base.map_or(0, |base| self.world.nodes[base].line);
        let mut before = base;
        for step in bits(self.world.nodes[new].line & !known) {
            let in_force = before
                .filter(|_| own)
                .map_or(spec, |before| self.spec(before));
            self.step(in_force, name, before, step, lines)?;
            if own && self.files(before)[POLICY] != self.files(Some(step))[POLICY] {
                let signer = self.world.nodes[step].signer;
                let mut rules = in_force
                    .rules(name)
                    .filter_map(|rule| rule.policy)
                    .peekable();
                if rules.peek().is_none() || !rules.all(|people| people & signer != NONE) {
                    return Err(format!("I4: step {step}"));
                }
            }
            before = Some(step);
        }
        Ok(())
    }

    /// Returns what is wrong if this push is taken.
    /// `is_named`: by one whom the rules name to move the branch forward.
    pub(super) fn violation(
        &self,
        state: State,
        name: &str,
        new: usize,
        is_named: bool,
    ) -> Option<String> {
        match name == MAIN {
            true => self.of_main(state, new),
            false => self.of_branch(state, name, new, is_named),
        }
        .err()
    }

    fn of_main(&self, state: State, new: usize) -> Result<(), String> {
        let line = self.world.nodes[new].line;
        if self.is_file {
            let spec = &self.specs[state.file];
            return match state.main {
                Some(old) if line >> old & 1 == 1 => self.forward(spec, MAIN, old, new, 0),
                old => self.begins_anywhere(
                    spec,
                    MAIN,
                    old.map_or(0, |old| self.world.nodes[old].line),
                    new,
                    0,
                ),
            };
        }
        let Some(old) = state.main else {
            return match line >> self.root & 1 {
                1 => self.steps(self.spec(self.root), MAIN, Some(self.root), new, 0, true),
                _ => Err("the default branch does not begin at the root".to_owned()),
            };
        };
        if line >> old & 1 == 1 {
            return self.steps(self.spec(old), MAIN, Some(old), new, 0, true);
        }
        if self.files(Some(old))[POLICY] != self.files(Some(new))[POLICY] {
            return Err("I5: a rewrite brings another policy".to_owned());
        }
        // Some state of the branch from which all that follows is by those who may.
        let states = (self.world.nodes[old].line | self.cut_off(self.spec(old))) & line;
        let mut last = Err("a rewrite leaves every state".to_owned());
        for base in bits(states).rev() {
            last = self.steps(self.spec(old), MAIN, Some(base), new, 0, false);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn of_branch(
        &self,
        state: State,
        name: &str,
        new: usize,
        is_named: bool,
    ) -> Result<(), String> {
        let spec = match (self.is_file, state.main) {
            (true, _) => &self.specs[state.file],
            (false, Some(main)) => self.spec(main),
            (false, None) => return Err("no policy is in force".to_owned()),
        };
        let line = self.world.nodes[new].line;
        let main = state.main.filter(|_| spec.main_lends_to(name));
        let lent = main.map_or(0, |main| self.world.nodes[main].line);
        let Some(old) = state.branch else {
            return self.begins_anywhere(spec, name, lent, new, lent);
        };
        let own = self.world.nodes[old].line;
        if line >> old & 1 == 1 && !is_named {
            return self.forward(spec, name, old, new, lent);
        }
        if self.reaches(new, old) && line >> old & 1 == 0 {
            // Whoever may rewrite (all may, here) may begin anywhere.
            return self.begins_anywhere(spec, name, lent | own, new, lent | own);
        }
        self.begins_anywhere(spec, name, lent | own, new, lent)
    }

    /// From the old value, or from what the cut-off lets in above it.
    fn forward(
        &self,
        spec: &Spec,
        name: &str,
        old: usize,
        new: usize,
        lent: u64,
    ) -> Result<(), String> {
        let found = self.steps(spec, name, Some(old), new, lent, false);
        let cut_off = self.cut_off(spec) & self.world.nodes[new].line;
        match bits(cut_off).next_back().filter(|_| found.is_err()) {
            Some(base) => self.steps(spec, name, Some(base), new, lent, false),
            None => found,
        }
    }

    /// Whether from one of these states, or from nothing, all is by those who may.
    fn begins_anywhere(
        &self,
        spec: &Spec,
        name: &str,
        states: u64,
        new: usize,
        lent: u64,
    ) -> Result<(), String> {
        let states = states | self.cut_off(spec);
        let bases = bits(states & self.world.nodes[new].line).rev().map(Some);
        let mut last = Ok(());
        for base in bases.chain([None]) {
            last = self.steps(spec, name, base, new, lent, false);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}
