"""The wire contract: message types, their codec and their endpoints. No sockets, no clocks."""
