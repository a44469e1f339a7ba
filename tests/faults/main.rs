//! The fault matrix: every fault that the worker has to survive, done to the built binary, and judged by an audit of
//! every message (`support/oracle.rs`). It knows the outside only: queues, requests, signals and logs.
//!
//! `tests/with-rabbitmq cargo test --release --test faults -- --include-ignored` runs all of it. Every test waits for a
//! sign that its fault has struck; `control` is the run without a fault, which shows no such sign. Kill tests have
//! control runs of their own.
//!
//! | # | Fault | Shown by |
//! |---|---|---|
//! | 1 | kill before the look-up | `kills::a_kill_before_the_look_up_…` |
//! | 2 | kill before the create is sent | `kills::a_kill_after_the_look_up_and_before_the_create_…` |
//! | 3 | kill before the create's reply | `kills::a_kill_after_the_create_…`, `…_while_the_portal_has_yet_to_carry_out_the_create_…` |
//! | 4 | kill before the publish | `kills::a_kill_after_the_reply_and_before_the_publish_…` |
//! | 5 | kill before the confirm | `kills::a_kill_between_the_publish_and_its_confirm_…` |
//! | 6 | kill before the ack | `kills::a_kill_between_the_confirm_and_the_ack_…` |
//! | 7 | kill in the synchronisation | `kills::a_kill_during_the_synchronisation_…` |
//! | 8 | kill in the tracker | `kills::a_kill_between_the_response_and_the_ack_…`, `later_kills`: in a sweep, before the confirm |
//! | 9 | kill in the retry hop | `kills::a_kill_during_the_hop_…`, `later_kills`: before the confirm, while waiting, while parking |
//! | 10 | process dies over one message | `later_kills::a_message_on_which_the_process_dies_…` (worked on again; not counted, so not parked), `hostile`, `panics` |
//! | 11 | broker restart | `broker_faults::a_restarted_node_…`, `…::a_killed_node_…` |
//! | 12 | broker down at start | `sessions::a_broker_that_comes_late_…`, `stopping::a_worker_whose_broker_is_away_…` |
//! | 13 | password, vhost, permission | `sessions::a_refused_password_…`, `…::a_refusal_ends_the_start_…`, `…::a_worker_without_a_right_…`, `…::a_right_that_is_taken_away_…`, `broker_faults::a_worker_that_may_not_use_…`, `…_that_is_no_longer_let_in_…`; refused for a reason that passes: `sessions::a_user_with_too_many_…`, `…::a_virtual_host_with_too_many_…` |
//! | 14 | connection closed by hand | `broker_faults::connections_that_an_administrator_closes_…` |
//! | 15 | publishing channel closed | `full_and_large::a_record_that_is_too_large_…` |
//! | 16 | cut or reset in mid-frame | `sessions::a_link_that_is_cut_at_any_step_of_the_handshake_…`, `links::connections_cut_at_any_byte_…`, `…::a_cut_…`, `…::a_reset_connection_…` |
//! | 17 | half-open link | `links::a_connection_whose_packets_vanish_…`, `…_that_carries_nothing_…`, `broker_faults::a_frozen_node_…` |
//! | 18 | slow broker | `links::confirms_that_come_late_…`, `…::a_record_whose_confirm_was_lost_…` |
//! | 19 | memory or disk alarm | `broker_faults::a_node_without_memory_…`, also at the start, `…_without_room_on_its_disk_…`, `records::an_answer_…`, `full_and_large::a_burst_…` |
//! | 20 | input queue deleted | `sessions::an_input_queue_that_is_deleted_…` |
//! | 21 | output queue gone or full | `sessions::a_sent_queue_…`, `tracking::a_responses_queue_…` |
//! | 22 | queue with other arguments | `sessions::queues_that_exist_in_another_form_…`, `…_that_counts_deliveries_…`, `records::records_in_a_queue_…`, `…::a_record_that_its_queue_…` |
//! | 23 | acknowledgement timeout | `broker_faults::a_broker_that_requeues_deliveries_…` |
//! | 24 | twice at once; two workers | `failures::a_message_published_twice_at_once_…`, `sessions::two_workers_…`, `…::a_task_whose_create_is_under_way_…`, `tracking::two_workers_…` |
//! | 25 | target: 5xx, no connection | `failures::a_message_is_retried_…`, `outages` |
//! | 26 | bursts of `QUERY_LIMIT_EXCEEDED` | `portal_errors::a_burst_of_refusals_…` |
//! | 27 | `OPERATION_TIME_LIMIT` | `portal_errors::a_method_or_portal_in_cool_down_…` |
//! | 28 | overload, 401, 403 | `outages::a_webhook_that_is_not_let_in_…`, `…::a_portal_that_was_blocked_by_hand_…`, `portal_errors::each_row_…` |
//! | 29 | 400 | `failures::a_refused_message_…`, `portal_refusals`, `portal_errors::each_row_…` |
//! | 30 | 200 with an error, or with nothing | `portal_errors::each_row_…`, `…::a_create_that_was_executed_without_a_clear_answer_…` |
//! | 31 | HTML, half a JSON, a bomb | `portal_errors::a_create_that_was_executed_…`, `…_that_was_not_executed_…`; limits in `tests/suite/http.rs` |
//! | 32 | drips, black hole, no such name | `outages::a_portal_in_a_black_hole_…`, `…_whose_name_nobody_knows_…`; drips in `tests/suite/http.rs` |
//! | 33 | TLS | `tls::a_wrong_certificate_…`, `…::exactly_the_certificate_…`, all its ways in `tests/suite/http.rs`; `tls::a_task_goes_round_…` are the control runs |
//! | 34 | redirect | `portal_errors::a_redirect_…` |
//! | 35–37 | malformed, huge, hostile | `hostile`, `failures::bodies_that_are_no_task_…`, `…::a_body_that_is_too_large_…` |
//! | 38 | another clock | `machine::a_message_retried_under_another_clock_…`, `lane::outgoing::tests`; intervals are of the monotonic clock, which no test can turn |
//! | 39 | log disk full, logs deleted | `machine::a_full_disk_under_the_logs_…`, `…::logs_that_somebody_deletes_…`, `stopping::a_full_disk_under_the_output_…` |
//! | 40 | stdout closed | `stopping::closed_outputs_…`, `…::a_pipe_whose_reader_has_left_…` |
//! | 41 | few descriptors, little memory | `machine::forty_descriptors_…`, `…::too_few_descriptors_…`, `…::two_gigabytes_…` |
//! | 42 | SIGTERM, SIGINT | `stopping` |
//! | 43 | signals at any moment | `machine::signals_at_any_moment_…`, `…::a_signal_before_the_first_session_…`, `stopping::a_second_ctrl_c_…` |
//! | 44 | SIGHUP, SIGPIPE | `stopping::a_closed_terminal_…`, `machine::signals_at_any_moment_…` |
//! | 45 | worker frozen | `machine::a_worker_that_was_frozen_…` |
//! | 46 | panic | `panics` |
//! | 47 | restart under load | `load` |
//! | 48 | all of it at random | the example `soak` |
//! | 49 | unknown add: an error after the create | `portal_as_it_is::answers::an_unknown_error_…` |
//! | 50 | invisible: a create with an empty answer | `portal_as_it_is::answers::a_task_that_the_owner_may_not_see_…`, `…::of_many_tasks_…` |
//! | 51 | late marker, or none | `portal_as_it_is::creates::a_task_whose_custom_fields_come_late_or_never_…` |
//! | 52 | stale error: a neighbour's, in a batch | `portal_as_it_is::refusals::a_message_that_gets_its_neighbours_error_…`, `…_with_its_own_reason_…` |
//! | 53 | killed between create and checklists | `half_done`; calls without an answer: `portal_as_it_is::checklists` |
//! | 54 | logs renamed, truncated, full; a terminal that nobody reads | `logs` |
//! | 55 | look-up and create apart: frozen, no permit, session lost | `apart::a_worker_that_was_frozen_…`, `…::a_create_that_waits_for_a_permit_…`, `…::a_message_delivered_again_…`, `…::with_rare_permits_…` |
//! | 56 | another worker's clock; a copy that waits elsewhere | `apart::a_retried_message_waits_…`, `…::a_second_copy_…` |
//! | 57 | input queue deleted under creates | `apart::tasks_whose_input_queue_is_deleted_…` |
//! | 58 | sessions shorter than a wait | `apart::a_wait_goes_on_…`, `broker_faults::messages_that_wait_longer_…` |
//! | 59 | too large for `max_message_size` | `full_and_large::a_record_…`, `…::a_task_whose_record_…`, `…::an_answer_…` |
//! | 60 | sent queue full, records worn out | `full_and_large::tasks_wait_…`, `records::a_record_that_its_queue_…` |
//! | 61 | session lost, settled by another worker | `full_and_large::after_a_lost_session_…` |
//! | 62 | AMQP that amiquip cannot take | `wear_out::amqp_that_…` |
//! | 63 | requeued too often: dying again and again, looking at parked messages | `wear_out::a_worker_that_dies_…`, `…::records_that_do_not_fit_…`, `…::a_replay_…`, `…::messages_that_a_replay_…`, `…::no_way_of_looking_…` |
//! | 64 | finished at once, failed at the target, a create that may have happened: of any system | `seam` |
//! | 65 | moved to another system's queue, killed between confirm and ack | `moved` |
//! | 66 | Celery: killed between its result and the response, or its confirm; before Celery's queue has confirmed a task | `celery::a_kill_between_…`, `…_before_…` in `tests/suite` |
//! | 67 | a job whose URL is on another host | `python::a_job_on_another_host_…` in `tests/suite` |
//! | 68 | 1C: a create or a posting whose answer is lost; killed between them | `onec` |
//! | 69 | killed between a mail server's 250 and the response, or its confirm; the same after a press in Telegram | `sent_again` |
//! | 70 | one deleted work package among those of a request to OpenProject | `openproject::a_page_with_one_deleted_id_…` in `tests/suite` |
//! | 71 | the owner's right to see all tasks is taken away or given, around a kill, a lost answer, a copy, a checklist | `portal_as_it_is::answers` |
//! | 72 | commands to a lane while it works | `lane_control` |

#[path = "../support/mod.rs"]
mod support;
// The portal of the soak.
#[allow(dead_code)]
#[path = "../soak/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../soak/target.rs"]
mod target;

mod apart;
mod broker_faults;
mod control;
mod failures;
mod full_and_large;
mod half_done;
mod hostile;
mod kills;
mod lane_control;
mod later_kills;
mod links;
mod load;
mod logs;
mod machine;
mod moved;
mod onec;
mod outages;
mod panics;
mod portal_as_it_is;
mod portal_errors;
mod portal_refusals;
mod records;
mod seam;
mod sent_again;
mod sessions;
mod stopping;
mod tls;
mod tracking;
mod wear_out;
