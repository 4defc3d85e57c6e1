BEGIN TRANSACTION;
CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    vocabulary TEXT NOT NULL,
    template TEXT NOT NULL,
    sample TEXT NOT NULL,
    source TEXT NOT NULL,
    label TEXT NOT NULL,
    confidence REAL NOT NULL,
    provenance INTEGER NOT NULL CHECK (provenance BETWEEN 0 AND 3),
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    taxonomy TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    replaced TEXT,
    UNIQUE (key, vocabulary)
);
INSERT INTO "answers" VALUES(1,X'F993B6CB6ECF39D0D8291D1091C16F32','default','disk <n> failed','disk 3 failed','app','Error',0.9,0,'qwen3:4b','1','default@1',1790000000.0,1790086400.0,NULL);
INSERT INTO "answers" VALUES(2,X'CCC0B66034C6CC7B93AC429701E8E40A','default','job <n> of <path> ü','','app','Critical Error',0.9,3,'','','default@1',1790000000.0,NULL,'{"label":"Error","provenance":"llm","confidence":0.75,"model":"qwen3:4b"}');
INSERT INTO "answers" VALUES(3,X'88202CF4EB2C1844532BC9E7718BB527','default','from a rule','disk 3 failed','app','Error',1.0,2,'','','default@1',1790000000.0,NULL,NULL);
INSERT INTO "answers" VALUES(4,X'71D881C5C715E49B90C1752F7A1E009B','bank','bank''s','disk 3 failed','app','High',0.9,0,'qwen3:4b','1','bank@0123456789abcdef',1790000000.25,1790086400.0,NULL);
CREATE INDEX answers_by_provenance ON answers (provenance);
CREATE INDEX answers_by_expiry ON answers (expires) WHERE expires IS NOT NULL;
COMMIT;
PRAGMA application_id = 1818455142;
PRAGMA user_version = 1;
