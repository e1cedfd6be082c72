"""Leases: signed permissions to read private images (http.md §12). Pure: no clock, no file, no connection.

A token comes by one of the `carriers`. `tokens` takes it apart, `key_set` finds its key, `signatures` checks it,
`claims` reads what it says, `verification` does all of that in the contract's order. `judgement` says whether a
verified lease opens an image now. `remembered`, `verification_queue` and `failure_limit` bound what tokens cost.
`issuing` is for the operator's command.
"""
