//! Microsoft's own `azure-identity` and `msgraph-sdk` read the stand-in's Graph: what pgaad is tested against is what
//! they expect of the real one.

use std::fs;
use std::path::Path;
use std::process::Command;

use pgaad_tests::directory::{APP, SECRET, register};
use pgaad_tests::run_directory;
use tenant::{ClientCertificate, Tenant, object_id};

#[test]
fn microsofts_own_libraries_are_content_with_the_stand_in() {
    let tenant = Tenant::start(&run_directory::fresh("tenant"));
    register(&tenant);
    let certificate = ClientCertificate::generate();
    let (group, user) = {
        let mut directory = tenant.directory();
        let application = directory.applications.get_mut(APP).expect("registered");
        application.certificates.push(certificate.clone());
        application.federated.push("token.of.kubernetes".to_owned());
        let user = directory.add_user("ann@example.com");
        (directory.add_crowd("crowd", 250), user)
    };
    let pem = run_directory::fresh("pem");
    fs::write(&pem, certificate.pem()).expect("our own directory");
    let output =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/samples/python/bin/python3"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/graph.py"))
            .args([tenant.authority(), tenant.tenant_id(), APP.to_owned(), SECRET.to_owned()])
            .arg(&pem)
            .args([group, object_id("nobody"), user])
            .env("REQUESTS_CA_BUNDLE", tenant.ca_file())
            .env("SSL_CERT_FILE", tenant.ca_file())
            .output()
            .expect("the Python of make samples");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.trim(), "250 3", "{errors}");
}
