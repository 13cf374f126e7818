//! Virtual IPs through netlink, ARP and neighbour discovery.
