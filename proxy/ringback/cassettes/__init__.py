"""Cassettes: recorded interactions that answer requests, in this proxy and in vcrpy itself.

A cassette is a vcrpy version-1 YAML file, `NAME.yaml`, in a cassette directory. The modules, from the lowest:

* `files` - the rules for cassette names; what can go wrong
* `bodies`, `matching`, `pseudonyms`, `redaction` - pure rules over requests and answers
* `vcr_format`, `large_files`, `layout` - the file format: one interaction, a whole file
* `formats`, `format_readers` - recordings of other tools
* `store` - durable writing
* `cassette`, `misses` - `CassetteDirectory`, `Cassette` and `Miss`: lookup and recording
* `verify`, `editing` - checks of files, and changes of whole files
* `manager` - `CassetteManager`: the cassettes of a running proxy

This package imports none of them by itself: the proxy loads the rest of it (and vcrpy) only when the first
cassette is needed. Nothing here knows mitmproxy.
"""
