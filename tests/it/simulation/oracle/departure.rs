//! What may leave the queue and the house.

use super::{Callback, Lease, Oracle, State};
use crate::simulation::posts::{Fate, Posted};

impl Oracle {
    /// A claim was granted for this row.
    pub(in crate::simulation) fn claimed(&mut self, id: i64, attempts: u32, claim_at: i64) {
        let generation = self.generations.len() - 1;
        let Some(callback) = self.callbacks.get_mut(&id) else {
            self.violation(format!("row {id} was claimed and never queued"));
            return;
        };
        let wrong = if callback.state != State::Pending {
            Some(format!("it is {}", callback.state.as_str()))
        } else if callback.current_lease().is_some() {
            Some("it is in flight".to_owned())
        } else if callback.due.iter().all(|due| *due > claim_at) {
            Some(format!("at {claim_at}, due at {:?}", callback.due))
        } else if usize::try_from(attempts) != Ok(callback.counted) {
            Some(format!(
                "with {attempts} attempts, not {}",
                callback.counted
            ))
        } else {
            None
        };
        callback.leases.push(Lease {
            claimed_at: claim_at,
            generation,
            post: None,
            revoked: false,
        });
        if let Some(wrong) = wrong {
            self.violation(format!("row {id} was claimed: {wrong}"));
        }
    }

    /// The row that a POST with this number is of.
    pub(in crate::simulation) fn find(&self, refund: bool, unique_number: &str) -> Option<i64> {
        let is_it = |callback: &Callback| {
            callback.order.refund == refund && callback.order.unique_number() == unique_number
        };
        let mut found = self
            .callbacks
            .iter()
            .filter(|(_, callback)| is_it(callback));
        found.next().map(|(id, _)| *id)
    }

    /// A POST has left. Returns its number.
    pub(in crate::simulation) fn posted(&mut self, mut posted: Posted) -> usize {
        let number = self.posts.len();
        let checked = self.check_post(&mut posted, number);
        let id = posted.id;
        self.posts.push(posted);
        if let Err(wrong) = checked {
            self.violation(format!("row {id} was sent: {wrong}"));
        }
        number
    }

    fn check_post(&mut self, posted: &mut Posted, number: usize) -> Result<(), String> {
        self.check_limits(posted)?;
        let generation = &self.generations[posted.generation];
        let callback = self.callbacks.get_mut(&posted.id).expect("it was found");
        let unsent = callback
            .leases
            .iter_mut()
            .find(|lease| lease.post.is_none());
        let lease = unsent.ok_or("no claim of it stands, or it was sent under it already")?;
        lease.post = Some(number);
        if posted.generation < lease.generation {
            return Err("under terms that were replaced before its claim".to_owned());
        }
        if !lease.revoked && callback.state != State::Pending {
            return Err(format!("it is {}", callback.state.as_str()));
        }
        if !callback.readable {
            return Err("the row can't be read".to_owned());
        }
        let order = &callback.order;
        let key = generation.key(order.app, posted.at);
        let key = key.ok_or_else(|| format!("app {} has no key", order.app))?;
        let (body, sign) = order.body(posted.at, key);
        posted.sign = sign;
        posted.key_id.clone_from(&key.id);
        if posted.body != body {
            return Err(format!("its body is\n  {}\nand not\n  {body}", posted.body));
        }
        if posted.url != order.url {
            return Err(format!("to {}, not {}", posted.url, order.url));
        }
        Ok(())
    }

    fn check_limits(&self, posted: &Posted) -> Result<(), String> {
        let generation = &self.generations[posted.generation];
        let waiting = self.posts.iter().filter(|post| post.fate == Fate::Waiting);
        let merchant = self.callbacks[&posted.id].order.merchant;
        let (mut all, mut of_origin) = (0, 0);
        for post in waiting {
            all += 1;
            let callback = self.callbacks.get(&post.id);
            of_origin += usize::from(callback.is_some_and(|its| its.order.merchant == merchant));
        }
        if all >= generation.in_flight_max {
            return Err(format!("beside {all} others, beyond max_in_flight"));
        }
        if of_origin >= generation.in_flight_per_origin_max {
            return Err(format!(
                "beside {of_origin} of its origin, beyond the limit"
            ));
        }
        Ok(())
    }
}
