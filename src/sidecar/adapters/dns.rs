//! What the DNS says, for `leasehold check`: the names of a mail server are looked up as other mail servers do it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

/// Of one question to one server.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 2;

/// Asks the servers that this host asks.
#[derive(Clone, Debug)]
pub struct Names(TokioResolver);

impl Names {
    /// With the servers of `/etc/resolv.conf`.
    ///
    /// # Errors
    /// Why that file can't be used.
    pub fn of_this_host() -> Result<Self, String> {
        let builder = TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf: {error}"))?;
        Self::finish(builder)
    }

    /// With one server.
    ///
    /// # Errors
    /// Never in practice.
    pub fn of(server: SocketAddr) -> Result<Self, String> {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![connection]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        Self::finish(TokioResolver::builder_with_config(
            config,
            TokioRuntimeProvider::default(),
        ))
    }

    fn finish(mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>) -> Result<Self, String> {
        let options = builder.options_mut();
        options.timeout = PATIENCE;
        options.attempts = TRIES;
        // What stands in this host's own file, nobody else sees.
        options.use_hosts_file = ResolveHosts::Never;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self(resolver))
    }

    /// All addresses of a name; none is no error.
    ///
    /// # Errors
    /// What kept the servers from answering.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let mut found = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            found.extend(self.ask(rooted(name), kind, |data| data.ip_addr()).await?);
        }
        Ok(found)
    }

    /// The names of an address.
    ///
    /// # Errors
    /// What kept the servers from answering.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, String> {
        let name = Name::from(address).to_ascii();
        let pointer = |data: &RData| {
            let RData::PTR(name) = data else { return None };
            Some(plain(&name.0))
        };
        self.ask(name, RecordType::PTR, pointer).await
    }

    /// The hosts that take the mail of a domain.
    ///
    /// # Errors
    /// What kept the servers from answering.
    pub async fn mail_hosts(&self, domain: &str) -> Result<Vec<String>, String> {
        let exchange = |data: &RData| {
            let RData::MX(mx) = data else { return None };
            Some(plain(&mx.exchange))
        };
        self.ask(rooted(domain), RecordType::MX, exchange).await
    }

    /// The texts of a name, each put together from its parts.
    ///
    /// # Errors
    /// What kept the servers from answering.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let text = |data: &RData| {
            let RData::TXT(text) = data else { return None };
            let whole: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            Some(String::from_utf8_lossy(&whole).into_owned())
        };
        self.ask(rooted(name), RecordType::TXT, text).await
    }

    async fn ask<T>(&self, name: String, kind: RecordType, of: impl Fn(&RData) -> Option<T>) -> Result<Vec<T>, String> {
        match self.0.lookup(name.as_str(), kind).await {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| of(&record.data)).collect()),
            Err(error) if NetError::is_no_records_found(&error) => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// As a whole name: no search domain is tried behind it.
fn rooted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::Record;
    use hickory_resolver::proto::rr::rdata::{A, MX, PTR, TXT};
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server with four records.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let query = question.queries[0].clone();
                let name = |text: &str| Name::from_ascii(text).unwrap();
                let data = match (query.name().to_ascii().as_str(), query.query_type()) {
                    ("mail.example.org.", RecordType::A) => Some(RData::A(A::new(192, 0, 2, 10))),
                    ("example.org.", RecordType::MX) => Some(RData::MX(MX::new(10, name("Mail.example.org.")))),
                    ("10.2.0.192.in-addr.arpa.", RecordType::PTR) => Some(RData::PTR(PTR(name("mail.example.org.")))),
                    ("example.org.", RecordType::TXT) => {
                        Some(RData::TXT(TXT::new(vec!["v=spf1 ".to_owned(), "mx -all".to_owned()])))
                    }
                    _ => None,
                };
                let mut answer = question.into_response();
                match data {
                    Some(data) => drop(answer.add_answer(Record::from_rdata(query.name().clone(), 60, data))),
                    None => answer.metadata.response_code = ResponseCode::NXDomain,
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        at
    }

    #[tokio::test]
    async fn names_addresses_mail_hosts_and_texts_are_found() {
        let names = Names::of(server().await).unwrap();
        let address: IpAddr = "192.0.2.10".parse().unwrap();
        assert_eq!(names.addresses("mail.example.org").await, Ok(vec![address]));
        assert_eq!(names.names(address).await, Ok(vec!["mail.example.org".to_owned()]));
        assert_eq!(
            names.mail_hosts("example.org").await,
            Ok(vec!["mail.example.org".to_owned()])
        );
        assert_eq!(names.texts("example.org").await, Ok(vec!["v=spf1 mx -all".to_owned()]));
        assert_eq!(names.mail_hosts("nowhere.example").await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_from_a_name_that_is_not() {
        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let names = Names::of(nobody).unwrap();
        assert!(names.addresses("mail.example.org").await.is_err());
    }
}
