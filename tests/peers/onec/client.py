"""python-1c-odata, a client that others wrote against real 1C, at the sandbox's infobase: reads, filters and finishes
what the 1C lane has made there. Called by tests/peers/onec.rs with server, user, password and Camunda's id of two
tasks: a document and a task for a person. Ends with 0 when all is as the client expects it."""

import asyncio
import sys

from python_1c_odata import (
    Catalog, Document, F, Infobase, ODataError, PostingMode, Task, guid, substringof,
)


def expect(what, seen, expected):
    if seen != expected:
        sys.exit(f"{what}: {seen!r}, not {expected!r}")


async def refused(what, call, status, code):
    try:
        await call
    except ODataError as error:
        expect(what, (error.status, error.internal_code), (status, code))
    else:
        sys.exit(f"{what}: it is not refused")


async def at_the_document(infobase, document_id):
    documents = Document(infobase, "Заявка")
    page = await documents.query(odata_filter=F("ИдентификаторЗадачи") == document_id, select=["Ref_Key", "Posted"])
    expect("documents of the lane", len(page.value), 1)
    key = page.value[0]["Ref_Key"]
    document = await documents.get(key)
    expect("the document", (document["Ref_Key"], document["Posted"]), (key, False))
    other = "00000000-0000-0000-0000-000000000001"
    either = (F("Ref_Key") == guid(key)) | (F("Ref_Key") == guid(other))
    expect("either key", len((await documents.query(odata_filter=either)).value), 1)
    await refused("in", documents.query(odata_filter=f"Ref_Key in ({guid(key)})"), 400, "14")
    await refused("an unknown field", documents.query(odata_filter="Нет eq 1"), 400, "14")
    await refused("a key twice", documents.create({"Ref_Key": key, "Date": "2026-11-23T00:00:00"}), 400, "15")
    await refused("no such object", documents.get(other), 404, "9")
    await refused("no such entity", Document(infobase, "Нет").query(), 404, "8")
    await documents.edit(key, {"Содержание": "O'Neil"}, if_match=document["DataVersion"])
    expect("a quote", len((await documents.query(odata_filter=substringof("O'Neil", F("Содержание")))).value), 1)
    await refused("a stale version", documents.edit(key, {}, if_match=document["DataVersion"]), 412, "-1")
    await documents.edit(key, {"РезультатВыполнения": "Согласовано"})
    await documents.post(key, PostingMode.POST)


async def at_the_task(infobase, task_id):
    tasks = Task(infobase, "ЗадачаИсполнителя")
    page = await tasks.query(odata_filter=F("ИдентификаторЗадачи") == task_id, inlinecount=True)
    expect("tasks of the lane", page.count, 1)
    key = page.value[0]["Ref_Key"]
    await tasks.edit(key, {"РезультатВыполнения": "НЕТ"})
    await tasks.execute(key)


async def main(server, user, password, document_id, task_id):
    async with Infobase(server, "base", user, password) as infobase:
        await at_the_document(infobase, document_id)
        await at_the_task(infobase, task_id)
        created = await Catalog(infobase, "Контрагенты").create({"Description": "Лютик"})
        expect("a counterparty", created["Description"], "Лютик")


asyncio.run(main(*sys.argv[1:]))
