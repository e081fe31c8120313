//! Turns: round the apps, and within an app round its endpoints.

use std::collections::{HashMap, VecDeque};

use super::endpoint_queue::{App, Id};

/// Endpoints that wait for their turn. The caller keeps an endpoint from standing in it twice.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// Each app with an entry in `endpoints` once.
    apps: VecDeque<App>,
    endpoints: HashMap<App, VecDeque<Id>>,
    len: usize,
}

impl RoundRobin {
    /// Endpoints that wait.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Apps that have an endpoint that waits.
    pub(super) fn apps(&self) -> usize {
        self.apps.len()
    }

    /// Endpoints of one app that wait.
    pub(super) fn len_of(&self, app: App) -> usize {
        self.endpoints.get(&app).map_or(0, VecDeque::len)
    }

    /// Whether one of the apps is as asked.
    pub(super) fn any(&self, is_so: impl FnMut(App) -> bool) -> bool {
        self.apps.iter().copied().any(is_so)
    }

    /// All that wait, app by app.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        let lines = self.apps.iter().filter_map(|app| self.endpoints.get(app));
        lines.flatten().copied()
    }

    /// The last in its app's line.
    pub(super) fn push(&mut self, app: App, id: Id) {
        let line = self.endpoints.entry(app).or_default();
        if line.is_empty() {
            self.apps.push_back(app);
        }
        line.push_back(id);
        self.len += 1;
    }

    /// The endpoint whose turn it is. Its app is the last in line from here on.
    pub(super) fn next(&mut self) -> Option<Id> {
        let app = self.apps.pop_front()?;
        let line = self.endpoints.get_mut(&app)?;
        let id = line.pop_front()?;
        self.len -= 1;
        match line.is_empty() {
            true => {
                self.endpoints.remove(&app);
            }
            false => self.apps.push_back(app),
        }
        Some(id)
    }

    /// The app whose turn it is.
    pub(super) fn next_app(&self) -> Option<App> {
        self.apps.front().copied()
    }

    /// Takes the line of the app out whose turn it is.
    pub(super) fn take_line(&mut self) -> Option<(App, VecDeque<Id>)> {
        let app = self.apps.pop_front()?;
        let line = self.endpoints.remove(&app)?;
        self.len -= line.len();
        Some((app, line))
    }

    /// Takes `id` out, wherever it stands.
    pub(super) fn remove(&mut self, app: App, id: Id) {
        let Some(line) = self.endpoints.get_mut(&app) else {
            return;
        };
        let before = line.len();
        line.retain(|other| *other != id);
        self.len -= before - line.len();
        if line.is_empty() {
            self.endpoints.remove(&app);
            self.apps.retain(|other| *other != app);
        }
    }
}
