//! All refusals of RabbitMQ, in one table: does a refusal stay until somebody changes settings, the virtual host or
//! rights, or can it pass by itself? And what to do about it.
//!
//! It knows the broker's texts only, not what was asked for.

/// One kind of refusal.
struct Refusal {
    code: u16,
    /// A part of the broker's text, without the names in it.
    words: &'static str,
    stays: bool,
    advice: &'static str,
}

const fn stays(code: u16, words: &'static str, advice: &'static str) -> Refusal {
    Refusal { code, words, stays: true, advice }
}

const fn passes(code: u16, words: &'static str, advice: &'static str) -> Refusal {
    Refusal { code, words, stays: false, advice }
}

/// The first one that fits counts. A refusal that fits none passes: an alarm, a node that stops (320) or lacks
/// resources (506), a queue that another connection uses (405), a protocol error (501 to 541).
const REFUSALS: &[Refusal] = &[
    // 403 ACCESS_REFUSED
    stays(
        403,
        "Login was refused",
        "correct RABBITMQ_USERNAME or RABBITMQ_PASSWORD (RabbitMQ lets guest in from its own machine only)",
    ),
    passes(403, "in exclusive use", "another program uses the queue exclusively: end it"),
    passes(403, "returned an error", ACCOUNTS),
    stays(403, "", ""),
    // 530 NOT_ALLOWED
    passes(530, "connection limit", LIMIT),
    passes(530, "number of channels", LIMIT),
    passes(530, "returned an error", ACCOUNTS),
    stays(530, "vhost", "correct RABBITMQ_VHOST, or let the user in there with rabbitmqctl set_permissions"),
    // 541 INTERNAL_ERROR
    passes(541, "is down", "rabbitmqctl restart_vhost starts it again"),
    // 404 NOT_FOUND
    passes(404, "is down or inaccessible", "start the RabbitMQ node that has the queue"),
];

const LIMIT: &str = "end other connections of this user, or raise the limit";
const ACCOUNTS: &str = "the service that RabbitMQ asks about its users (LDAP, HTTP, OAuth) is not available";

/// Does the refusal stay until somebody changes settings, the virtual host or rights?
pub fn lasts(code: u16, message: &str) -> bool {
    of(code, message).is_some_and(|refusal| refusal.stays)
}

/// The broker's reason, and what to do.
pub fn told(code: u16, message: &str) -> String {
    match of(code, message).map_or("", |refusal| refusal.advice) {
        "" => format!("RabbitMQ says: {message} ({code})"),
        advice => format!("RabbitMQ says: {message} ({code}); {advice}"),
    }
}

fn of(code: u16, message: &str) -> Option<&'static Refusal> {
    // The names of users, queues and hosts must not decide.
    let words: String = message.split('\'').step_by(2).collect();
    REFUSALS.iter().find(|refusal| refusal.code == code && words.contains(refusal.words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_credentials_virtual_host_and_permissions_stay() {
        for (code, message) in [
            (
                403,
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
            ),
            (
                403,
                "ACCESS_REFUSED - access to queue 'connection limit' in vhost '/' refused for user 'in exclusive use'",
            ),
            (403, "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'worker'"),
            (530, "NOT_ALLOWED - access to vhost '/' refused for user 'returned an error'"),
            (530, "NOT_ALLOWED - vhost no-such-vhost not found"),
        ] {
            assert!(lasts(code, message), "{message}");
        }
        for (code, message) in [
            (530, "NOT_ALLOWED - connection refused for user 'worker': user connection limit (1) is reached"),
            (530, "NOT_ALLOWED - access to vhost '/' refused for user 'worker': connection limit (0) is reached"),
            (
                530,
                "NOT_ALLOWED - access to vhost '/' refused for user 'worker': connection limit cannot be queried, timeout",
            ),
            (530, "NOT_ALLOWED - connection refused: node connection limit (10) is reached"),
            (
                530,
                "NOT_ALLOWED - number of channels opened for user 'worker' has reached the maximum allowed user limit of 2",
            ),
            (
                530,
                "NOT_ALLOWED - number of channels opened on node 'rabbit@a' has reached the maximum allowed limit of 2",
            ),
            (
                530,
                "NOT_ALLOWED - access to vhost '/' refused for user 'w', backend rabbit_auth_backend_ldap returned an error: timeout",
            ),
            (530, "NOT_ALLOWED - negotiated frame_max = 1 is lower than the minimum allowed value (4096)"),
            (
                403,
                "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'w', backend b returned an error: econnrefused",
            ),
            (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"),
            (541, "INTERNAL_ERROR - access to vhost '/' refused for user 'worker': vhost '/' is down"),
            (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"),
            (404, "NOT_FOUND - home node 'rabbit@a' of durable queue 'q' in vhost '/' is down or inaccessible"),
            (405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'"),
            (406, "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost '/' (1) is reached"),
            (506, "RESOURCE_ERROR"),
        ] {
            assert!(!lasts(code, message), "{message}");
        }
    }

    #[test]
    fn the_brokers_own_reason_comes_first_and_then_what_to_do() {
        let limit = "NOT_ALLOWED - connection refused: node connection limit (10) is reached";
        assert_eq!(told(530, limit), format!("RabbitMQ says: {limit} (530); {LIMIT}"));
        assert_eq!(told(506, "RESOURCE_ERROR"), "RabbitMQ says: RESOURCE_ERROR (506)");
    }
}
