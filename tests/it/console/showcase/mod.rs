//! A console over a queue as it may look on some night, with plots of the last day: for pictures, and
//! for tests that visit every page.
//!
//! The queue is a real one. Its rows and attempts are written by SQL, and the plots are fed with what
//! a dispatcher would have told them, since a test has no day to wait.

mod day;
mod rows;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::admin::console::{Console, ConsoleParts, Token};
use callback_dispatcher::admin::{self, Beat, History};
use callback_dispatcher::clock::{Clock, ManualClock, SystemClock};
use callback_dispatcher::delivery::observer::Observer as _;
use callback_dispatcher::domain::{Convention, Secret};
use callback_dispatcher::service;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::TOKEN;
use crate::support::place::{Place, listener};
use crate::support::store::StoreKind;

/// What a merchant may write to take over the console, or to mislead who reads it.
pub(super) const HOSTILE: &str = "<script>document.title='owned'</script>\
     <img src=x onerror=\"document.title='owned'\"></pre>\u{202e}DELIAF\u{202c}\u{1b}[31m\u{0007}\
     <style>body{display:none}</style>' onmouseover='document.title=1' \"><h1>owned</h1>&lt;b&gt;";

const MINUTE: Duration = Duration::from_secs(60);

/// A running console.
pub(super) struct Showcase {
    pub(super) address: SocketAddr,
    _place: Place,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Showcase {
    pub(super) async fn start(store: StoreKind) -> Self {
        let place = Place::on(store);
        // The views of the database go by the real time.
        let now = SystemClock.now();
        for part in rows::sql(now) {
            place.sql(&part);
        }
        let history = Arc::new(History::new(now.before(MINUTE * 60 * 22)));
        day::fill(&history, now);
        let beat = Arc::new(Beat::default());
        beat.beat(now);
        let url = place.configuration(&[]).settings.store.url;
        let reader = service::inspection(&url).await.expect("the queue");
        let token = Token::new(&Secret::new(TOKEN.to_owned()));
        let (_, token) = watch::channel(Some(token));
        let console = Console::new(ConsoleParts {
            inspection: Arc::clone(&reader),
            slow_inspection: reader,
            commands: service::commands(&url).await.expect("the queue"),
            history,
            beat,
            clock: Arc::new(ManualClock::at(now)),
            convention: Arc::new(Convention::default),
            token,
            names: Vec::new(),
            open_to_readers: true,
        });
        let listener = listener().await;
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(admin::serve(listener, console.router(), async {
            let _ = stopped.await;
        }));
        Self {
            address,
            _place: place,
            stop,
            server,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.expect("no panic");
    }
}
