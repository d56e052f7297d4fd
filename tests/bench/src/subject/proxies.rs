//! Proxies that look at nothing: what a hop costs at the least.

use std::fs;

use super::{Found, Launch, Subject, Workshop, chat, free_address, installed, version};

/// The bare proxy of this crate (`crate::proxy`).
pub fn hyper(workshop: &Workshop) -> anyhow::Result<Subject> {
    let place = workshop.place("hyper")?;
    let address = free_address()?;
    let arguments = [
        "proxy".to_owned(),
        format!("--listen={address}"),
        format!("--upstream={}", workshop.upstream),
    ];
    let mut launch = Launch::new(std::env::current_exe()?, &[], &place);
    launch.arguments = arguments.to_vec();
    Ok(Subject {
        name: "hyper".to_owned(),
        what: "hyper + hyper-util, 60 lines".to_owned(),
        version: "1".to_owned(),
        target: chat(address),
        launch: Some(launch),
        starts_quickly: true,
    })
}

/// nginx, as bare as it can be: no log, nothing buffered, connections kept.
pub fn nginx(workshop: &Workshop) -> anyhow::Result<Found> {
    let Some(program) = installed("nginx") else {
        return Ok(Found::absent("nginx", "apt-get install nginx"));
    };
    let place = workshop.place("nginx")?;
    let address = free_address()?;
    let config = format!(
        "daemon off; worker_processes 2; pid {place}/pid; error_log {place}/error.log;\n\
         user root;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log off; client_body_temp_path {place}; proxy_temp_path {place};\n\
           fastcgi_temp_path {place}; uwsgi_temp_path {place}; scgi_temp_path {place};\n\
           keepalive_requests 100000000; client_body_buffer_size 256k;\n\
           upstream model {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n\
           server {{\n\
             listen {address};\n\
             location / {{\n\
               proxy_pass http://model; proxy_http_version 1.1; proxy_buffering off;\n\
               proxy_set_header Connection \"\";\n\
             }}\n\
           }}\n\
         }}\n",
        place = place.display(),
        upstream = workshop.upstream
    );
    let file = place.join("nginx.conf");
    fs::write(&file, config)?;
    let (file, prefix) = (file.display().to_string(), place.display().to_string());
    let subject = Subject {
        name: "nginx".to_owned(),
        what: "bare proxy".to_owned(),
        version: version(&program, "-v"),
        target: chat(address),
        launch: Some(Launch::new(program, &["-c", &file, "-p", &prefix], &place)),
        starts_quickly: true,
    };
    Ok(Found::here(subject))
}

/// haproxy, with two threads and no log.
pub fn haproxy(workshop: &Workshop) -> anyhow::Result<Found> {
    let Some(program) = installed("haproxy") else {
        return Ok(Found::absent("haproxy", "apt-get install haproxy"));
    };
    let place = workshop.place("haproxy")?;
    let address = free_address()?;
    let config = format!(
        "global\n  nbthread 2\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend clients\n  bind {address}\n  default_backend model\n\
         backend model\n  http-reuse always\n  server model {}\n",
        workshop.upstream
    );
    let file = place.join("haproxy.cfg");
    fs::write(&file, config)?;
    let file = file.display().to_string();
    let subject = Subject {
        name: "haproxy".to_owned(),
        what: "bare proxy".to_owned(),
        version: version(&program, "-v"),
        target: chat(address),
        launch: Some(Launch::new(program, &["-db", "-f", &file], &place)),
        starts_quickly: true,
    };
    Ok(Found::here(subject))
}
