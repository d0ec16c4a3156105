//! Under `make sanitize` a fault of memory is seen, and fails the test whose server had it.

use pgaad_tests::{Installation, Route, Scene};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_read_past_the_end_fails_the_test() {
    if std::env::var_os("PGAAD_SANITIZED").is_none() {
        return;
    }
    let scene = Scene::on(&Installation::faulty(), |cluster| cluster);
    let role = scene.member();
    scene.cluster.set("pgaad.fault", "overread");
    let mark = scene.cluster.log_mark();
    scene.attempt(Route::Trust, &role).login();
    scene.cluster.wait_for_log(mark, "AddressSanitizer: heap-buffer-overflow");
    let ended = catch_unwind(AssertUnwindSafe(|| drop(scene))).expect_err("the report was overlooked");
    let told = ended.downcast::<String>().expect("a panic has words");
    assert!(told.contains("the server's memory or arithmetic went wrong"), "{told}");
}
