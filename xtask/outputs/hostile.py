"""Gives threads, classes, files, libraries and what keeps memory names that no one should have, in a copy of a recording.

hostile.py RECORDING COPY
"""

import json
import shutil
import sqlite3
import sys

EVIL = "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">'&amp;\"`${1}\x1b[31m\u202eevil\u2066\n\x00\ud7ff"

recording, copy = sys.argv[1:]
shutil.copy(recording, copy)
database = sqlite3.connect(copy)
database.execute("UPDATE frame SET function = function || ?1 || id, file = coalesce(file, '') || ?1", [EVIL])
database.execute("UPDATE module SET path = path || ?1", [EVIL])
database.execute("UPDATE thread SET name = ?1 || coalesce(name, '')", [EVIL])
database.execute("UPDATE compiled_method SET method = method || ?1", [EVIL])
database.execute("UPDATE code_heap SET name = name || ?1", [EVIL])
database.execute("INSERT INTO note (text) VALUES (?1)", [EVIL])
database.execute("INSERT OR REPLACE INTO lost VALUES (?1, 1)", [EVIL])
for row, path in database.execute("SELECT id, path FROM holder").fetchall():
    steps = [{**step, "class": EVIL, "name": EVIL} for step in json.loads(path)]
    database.execute("UPDATE holder SET path = ?2, class = ?3, field = ?3 WHERE id = ?1", [row, json.dumps(steps), EVIL])
target = json.loads(database.execute("SELECT value FROM meta WHERE key = 'target'").fetchone()[0])
target.update(comm=EVIL, container=EVIL, command=[EVIL, "-cp", EVIL, "com." + EVIL])
if target.get("jvm"):
    target["jvm"].update(version=EVIL, vendor=EVIL, gc=EVIL)
database.execute("UPDATE meta SET value = ?1 WHERE key = 'target'", [json.dumps(target)])
database.commit()
database.close()
