from ringback.contract import load


def test_without_a_file_it_is_the_documented_contract_read_once() -> None:
    assert load() is load()
    assert load([]) == load()


def test_it_has_what_its_files_have() -> None:
    contract = load()
    assert [resource.resource for resource in contract.resources] == [
        "Messages",
        "Calls",
        "IncomingPhoneNumbers",
    ]
    assert len(contract.examples) == 8
    assert contract.text(21211, "Messages").status == 400
