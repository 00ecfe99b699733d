"""The table of bad input: what is wrong, the command, what is told. ``tests/test_errors.py`` runs it.

A case begins in a copy of :func:`bad_world.world`, in which everything is right and its command would work.
"""

# ruff: noqa: E501 - a table: a case a line
# fmt: off

from dataclasses import dataclass

from bad_world import (
    COLLECTION,
    EVALUATE,
    EXPORT,
    GIVEN,
    IMPORT,
    INDEX,
    INSPECT,
    LM,
    MINE,
    SEARCH,
    STORES,
    TRAIN,
    Harm,
    add,
    asked,
    both,
    copy,
    cut,
    delete,
    document,
    edit,
    judge,
    language_model,
    little,
    recode,
    scored,
    write,
)

SERVER = "score data.collection=beir data.dev=null candidates=bm25 teacher=server teacher.form=tei teacher.model=me teacher.retries=0"

@dataclass(frozen=True)
class Case:
    """One mistake."""

    name: str
    command: str
    """Words of the command line, as a shell reads them."""
    message: str
    """Regular expression; of legal input, what is told where it works."""
    harm: Harm | None = None
    """What is done to the world before."""
    status: int = 2
    """0: the input is legal and must work."""
    mended: bool = False
    """Give the command once more with good input: it must work, whatever the failure has left."""


BROKEN = '{"name": "x'
LATIN = '{"_id": "dx", "text": "caf\u00e9"}\n'.encode("latin-1")
LATIN_ROW = "q1 Q0 d\u00e9 13 0.1 me\n".encode("latin-1")
CALLING = b"cos\nsystem\n(S'touch ran'\ntR."
"""A pickle that would run a command."""
OBJECTS = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
DEFAULTS = b"\x80\x04\x957\x00\x00\x00\x00\x00\x00\x00\x8c\x0bcollections\x94\x8c\x0bdefaultdict\x94\x93\x94\x8c\x08builtins\x94\x8c\x04dict\x94\x93\x94\x85\x94R\x94."
"""A pickle of an empty defaultdict."""
UNFINISHED = both(delete("RUN/result.json"), delete("RUN/trained.json"))
MODEL = "could not be loaded .*Give a folder that holds config.json, model.safetensors and tokenizer.json"
PLAIN = both(copy("RUN/model", "plain"), delete("plain/limbeck.json"))
"""A plain checkpoint, of a BERT."""
READ = "index data=collection data.collection=beir accelerator=cpu out=new backbone=pretrained backbone.model=plain"

CASES: dict[str, list[Case]] = {
    "Collections": [
        Case("a collection that is nowhere", "mine data=collection data.collection=beer", "'beer' is neither an existing folder nor an ir_datasets id"),
        Case("a folder below paths.data that is not there", "mine 'data.collection=${paths.data}/nfcorpus' paths.data=data", "looked at data/nfcorpus; experiments name folders below paths.data"),
        Case("no corpus.jsonl", MINE, "beir is no BEIR folder: it must hold corpus.jsonl", delete("beir/corpus.jsonl")),
        Case("no queries.jsonl", MINE, "beir/queries.jsonl is missing", delete("beir/queries.jsonl")),
        Case("no qrels of a split", f"{MINE} data.dev=devel", "qrels/devel.tsv is missing; splits in this folder: dev, test, train"),
        Case("an empty corpus", MINE, "corpus.jsonl: there are no documents", write("beir/corpus.jsonl", "")),
        Case("an empty file of queries", MINE, "no query has both a text and a judgment", write("beir/queries.jsonl", "")),
        Case("a corpus cut in a line", MINE, r"corpus.jsonl:\d+: not a JSON object", cut("beir/corpus.jsonl"), mended=True),
        Case("a model of an unknown collection, indexed", "index student=saved student.folder=model out=new", "data must be given: which collection student.folder=model belongs to is not known.*or data=synthetic", copy("RUN/model", "model")),
        Case("scores of an unknown collection", "inspect teacher=store teacher.path=store", "data must be given: which collection teacher.path=store belongs to", edit("store/meta.json", '"data":', '"not_data":')),
        Case("a run file of an unknown collection", "mine candidates=run candidates.file=run.trec", "data must be given: which collection candidates.file=run.trec belongs to"),
        Case("a pretrained teacher without a collection", "score teacher=cross_encoder teacher.backbone.model=nobody/nothing out=new", "data must be given: which collection teacher.backbone.model=nobody/nothing belongs to"),
        Case("scores of another collection, that denoise", f"{MINE} teacher=store teacher.path=store pool.denoise.absolute=1", "teacher.path: the scores are of the collection with fingerprint .*limbeck score", edit("beir/corpus.jsonl", "d00", "e00")),
        Case("a query that has changed since it was scored", f"{MINE} teacher=store teacher.path=store pool.denoise.absolute=1", "store: query 'q1' had another text when it was scored .1 such queries.; score them again into another folder", scored("store", "q1", "another text")),
        Case("vectors of a type that is not kept", f"{MINE} candidates=dense candidates.backbone.model=RUN/model candidates.dtype=int8", "candidates.dtype must be one of float32, float16, got 'int8'"),
        Case("a line that is no object", MINE, "corpus.jsonl:13: needs the string fields _id, text", add("beir/corpus.jsonl", "[1, 2]\n")),
        Case("a number for a title", MINE, "corpus.jsonl:13: title must be a string", add("beir/corpus.jsonl", '{"_id": "dx", "title": 3, "text": "x"}\n')),
        Case("a corpus in latin-1", MINE, "corpus.jsonl:13: not a JSON object in UTF-8", add("beir/corpus.jsonl", LATIN)),
        Case("a corpus in UTF-16", MINE, "corpus.jsonl: this is text in UTF-16; .*iconv", recode("beir/corpus.jsonl", "utf-16")),
        Case("NUL bytes in a corpus", MINE, "corpus.jsonl:13: not a JSON object", add("beir/corpus.jsonl", b"\0\0\0\n")),
        Case("half a pair of surrogates", MINE, r"corpus.jsonl:13: text has \\ud800, half of a character", document("dx", r"a \ud800 b")),
        Case("a document twice, mined", MINE, "corpus.jsonl: document 'd00' appears twice", document("d00")),
        Case("a document twice, indexed", f"{INDEX}2", "corpus.jsonl: document 'd00' appears twice; ids must differ", document("d00")),
        Case("documents without a word", MINE, "no document of beir has a word to BM25: .*candidates.analyser=characters", write("beir/corpus.jsonl", "".join(f'{{"_id": "d{t}{n}", "text": "\u86cb"}}\n' for t in range(4) for n in range(3)))),
        Case("an empty document id", MINE, "the id of document '' is empty or has white space", document("")),
        Case("a document id with a space", MINE, "the id of document 'd x' is empty or has white space", document("d x"), mended=True),
        Case("a document id with a line break", MINE, r"the id of document 'd\\nx' is empty", document(r"d\nx")),
    ],
    "Queries": [
        Case("a query twice", MINE, "queries.jsonl:5: query 'q0' appears twice, and in line 1 first", add("beir/queries.jsonl", '{"_id": "q0", "text": "x"}\n')),
        Case("a query id with a space", MINE, "the id of train query 'q 0' is empty or has white space", both(edit("beir/queries.jsonl", "q0", "q 0"), judge("q 0\td00\t1"))),
        Case("a query id that begins with #", MINE, "the id of query '#1' begins with #, which begins a comment in a TREC run", both(edit("beir/queries.jsonl", "q0", "#1"), judge("#1\td00\t1"))),
        Case("queries that are not judged", MINE, "train.tsv: no query has both a text and a judgment", judge("z\td00\t1")),
        Case("no query with a positive", MINE, "no training query has a positive document", judge("q0\td00\t0", "q1\td00\t0")),
    ],
    "Judgments": [
        Case("an empty file", MINE, "train.tsv: the file is empty", write("beir/qrels/train.tsv", "")),
        Case("a header alone", MINE, "there are no judgments below the header", judge()),
        Case("a grade that is no number", MINE, r"train.tsv:6: expected query-id, .*found 'q1\\td11\\tgood'", add("beir/qrels/train.tsv", "q1\td11\tgood\n"), mended=True),
        Case("two grades of a pair", MINE, "train.tsv:6: document d10 has grade 3 for query q1, and 1 further up", add("beir/qrels/train.tsv", "q1\td10\t3\n")),
        Case("text in UTF-16", EVALUATE, "qrels.txt: this is text in UTF-16", recode("qrels.txt", "utf-16")),
        Case("text in latin-1", EVALUATE, "qrels.txt:5: expected query, iteration, document", add("qrels.txt", "q\u00e9 0 d00 1\n".encode("latin-1"))),
        Case("no such file", "evaluate run_file=run.trec qrels=none.txt", "qrels: there is no file none.txt"),
        Case("a zip archive", EVALUATE, "qrels.txt: this is a zip archive; unpack it", write("qrels.txt", b"PK\3\4 and so on")),
        Case("a fraction for a grade", EVALUATE, "qrels.txt:1: expected query, iteration, document", edit("qrels.txt", "d00 1", "d00 0.5")),
        Case("a run for judgments", "evaluate run_file=run.trec qrels=run.trec", "run.trec:1: .*six columns are those of a run"),
        Case("of other queries, evaluated", EVALUATE, "ranks none of the queries of qrels.txt", write("qrels.txt", "z1 0 d00 1\n"), mended=True),
        Case("of other queries, inspected", INSPECT, "no query of the run has a positive in qrels", write("qrels.txt", "z1 0 d00 1\n")),
    ],
    "Run files": [
        Case("no such file", "evaluate run_file=none.trec qrels=qrels.txt", "run_file: there is no file 'none.trec'"),
        Case("an empty file", EVALUATE, "run.trec: the file is empty", write("run.trec", "")),
        Case("cut in a line", EVALUATE, "run.trec:25: expected six columns", cut("run.trec", 0.51), mended=True),
        Case("a score that is NaN", EVALUATE, "run.trec:1: expected six columns with a finite score", edit("run.trec", "11.5", "nan")),
        Case("a document twice", EVALUATE, "run.trec:49: document d00 appears twice for query q1", add("run.trec", "q1 Q0 d00 13 0.1 me\n")),
        Case("a document id with a space", EVALUATE, "run.trec:49: expected six columns", add("run.trec", "q1 Q0 d 00 13 0.1 me\n")),
        Case("text in latin-1", EVALUATE, "run.trec:49: not UTF-8", add("run.trec", LATIN_ROW)),
        Case("text in UTF-16", EVALUATE, "run.trec: this is text in UTF-16", recode("run.trec", "utf-16")),
        Case("judgments for a run", "evaluate run_file=qrels.txt qrels=qrels.txt", "qrels.txt:1: .*has 4 columns: are these judgments"),
        Case("lines without a tag", EVALUATE, "run.trec:1: .*has 5 columns: the tag, the sixth, may be any word", write("run.trec", "q0 Q0 d00 1 2.5\n")),
        Case("Parquet", EVALUATE, "run.trec: this is Parquet; limbeck import format=table reads Parquet", write("run.trec", b"PAR1\x15\4\x15\0")),
        Case("a pickle", EVALUATE, "run.trec: this is a pickle", write("run.trec", b"\x80\4}q\0.")),
        Case("a web page saved in place of the run", EVALUATE, "run.trec: this is a web page .*download the file itself", write("run.trec", "<!DOCTYPE html><html></html>\n")),
        Case("a pointer of Git LFS", EVALUATE, "run.trec: this is a pointer of Git LFS, not the data; git lfs pull", write("run.trec", "version https://git-lfs.github.com/spec/v1\n")),
        Case("a damaged lz4 file", EVALUATE, "run.trec: the file is damaged or was not downloaded whole .lz4", write("run.trec", b"\x04\x22\x4d\x18x")),
        Case("a damaged gzip file", EVALUATE, "run.trec: the file is damaged or was not downloaded whole", write("run.trec", b"\x1f\x8b\x08\0\0\0\0\0")),
        Case("candidates of another collection", GIVEN, "document 'other' of query 'q0' is not in the collection beir", edit("run.trec", " d00 ", " other ")),
        Case("candidates of other queries", GIVEN, "has none of the 4 train queries of beir", write("run.trec", "z Q0 d00 1 1.0 me\n")),
        Case("no such candidates", f"{GIVEN}2", "candidates.file must be a TREC run file; run.trec2 does not exist"),
        Case("nothing to inspect", INSPECT, "run: run.trec: the file is empty", write("run.trec", "")),
    ],
    "Files of teacher scores": [
        Case("no such file", "import format=trec_run path=none.trec out=new", "path: there is no file none.trec"),
        Case("no format", "import path=teacher.trec out=new", "format must be given: format=…"),
        Case("an empty file", IMPORT, "teacher.trec: the file is empty", write("teacher.trec", "")),
        Case("cut in a line", IMPORT, "teacher.trec:25: has 3 columns", cut("teacher.trec", 0.51), mended=True),
        Case("a score that is infinite", IMPORT, "teacher.trec:49: 'inf' is no finite number", add("teacher.trec", "q0 Q0 x 13 inf me\n")),
        Case("two scores of a pair", IMPORT, "query 'q0', document 'd00' has different scores, from .* to 99", add("teacher.trec", "q0 Q0 d00 13 99 me\n")),
        Case("an empty column between tabs", f"{IMPORT} teacher.name=me", "teacher.trec:1: has 5 columns", write("teacher.trec", "q0\t\td0\t1\t1.0\tme\n" * 2)),
        Case("a blank in a column between tabs", f"{IMPORT} teacher.name=me", "teacher.trec:1: has 7 columns", write("teacher.trec", "q0\tQ0\td 0\t1\t1.0\tme\n")),
        Case("text in latin-1", IMPORT, "teacher.trec:49: .utf-8. codec can't decode", add("teacher.trec", LATIN_ROW)),
        Case("text in UTF-16", IMPORT, "teacher.trec: this is text in UTF-16", recode("teacher.trec", "utf-16")),
        Case("flat scores whose columns are not clear", "import format=table path=flat.tsv out=new teacher.name=me", "cannot tell the columns of query, document and score: .*say format.query=NAME", write("flat.tsv", "frage\ttreffer\tpunkte\nq\td\t1\n")),
        Case("a layout of a published file, of another teacher", "import format=colbert_64way path=lists.jsonl out=new", "teacher.name must be given: .*MiniLM cross-encoder of ColBERTv2 is known by colbertv2.0_msmarco_64way in the path", write("lists.jsonl", "[1, [2, 0.5]]\n")),
        Case("a pickle of a defaultdict", "import format=sbert_ce_scores path=scores.pkl out=new teacher.name=me", "It seems to hold a defaultdict.*limbeck import format=table", write("scores.pkl", DEFAULTS)),
        Case("lists cut in a line", "import format=flag_embedding path=lists.jsonl out=new teacher.name=me", "lists.jsonl:1: ", write("lists.jsonl", '{"query": "a", "pos": ["b"], "ne')),
        Case("lists without scores", "import format=flag_embedding path=lists.jsonl out=new teacher.name=me", "lists.jsonl:1: ", write("lists.jsonl", '{"query": "a", "pos": ["b"], "neg": ["c"]}\n')),
        Case("columns of no layout", "import format=training_lists path=lists.jsonl out=new teacher.name=me", "lists.jsonl: the file has the columns frage, treffer, which are neither lists with scores nor texts by id", write("lists.jsonl", '{"frage": "a", "treffer": ["b"]}\n')),
        Case("passages without scores", "import format=training_lists path=lists.jsonl out=new teacher.name=me", "lists.jsonl:1: has passages without 'score'", write("lists.jsonl", '{"query_id": "1", "query": "a", "positive_passages": [{"docid": "1", "text": "b"}], "negative_passages": []}\n')),
        Case("one id with two texts", "import format=training_lists path=lists.jsonl out=new teacher.name=me", "lists.jsonl:2: query '1' has another text here than before; format.ids=texts", write("lists.jsonl", '{"query_id": "1", "query": "a", "documents": ["b"], "scores": [2]}\n{"query_id": "1", "query": "c", "documents": ["b"], "scores": [1]}\n')),
        Case("prompts of RankLLM, not its results", "import format=rank_llm path=history.json out=new teacher.name=me", "history.json: this is RankLLM's history of prompts and answers", write("history.json", '[{"query": {"qid": "1", "text": "a"}, "invocations_history": []}]')),
        Case("a document twice in an order", "import format=rank_llm path=lists.jsonl out=new teacher.name=me", "lists.jsonl:1: has document '7' twice: it is no permutation", write("lists.jsonl", '{"query": {"qid": 1}, "candidates": [{"docid": 7}, {"docid": 7}]}\n')),
        Case("a tar archive", "import format=trec_run path=scores.tar.gz out=new", "this is a tar archive; unpack it", write("scores.tar.gz", b"\x1f\x8b")),
        Case("a sigmoid said to be a logit", "import format=table path=flat.tsv out=new teacher.name=me kind=logit", "kind=logit is said, but the scores look like probabilities.*say kind=probability", write("flat.tsv", "".join(f"q\td{i}\t{i / 200}\n" for i in range(200)))),
        Case("cosines × 20 said to be cosines", "import format=table path=flat.tsv out=new teacher.name=me kind=cosine", "a cosine with scale=1 lies in .*say of which kind", write("flat.tsv", "q\td\t13.5\nq\te\t-2\n")),
        Case("a kind of number that there is not", "import format=trec_run path=teacher.trec out=new kind=sigmoid", "kind must be one of logit, .*, got 'sigmoid'"),
        Case("a scale of nothing", "import format=trec_run path=teacher.trec out=new scale=0", "scale must be a number > 0"),
        Case("into a finished store", "import format=trec_run path=teacher.trec out=store", "store is a finished score store; force=true replaces it"),
        Case("into a folder of other things", "import format=trec_run path=teacher.trec out=beir", "beir holds other things"),
        Case("below a file", "import format=trec_run path=teacher.trec out=run.trec/new", "a part of this path is a file"),
        Case("an unknown rule for duplicates", f"{IMPORT} duplicates=last", "duplicates must be one of error, first, got 'last'"),
    ],
    "Score stores": [
        Case("no such store", f"{TRAIN} name=new teacher.path=none", "none: there is no score store here; make one with limbeck score or limbeck import"),
        Case("meta.json cut", STORES, "store/meta.json: this is no meta.json of a score store", write("store/meta.json", BROKEN)),
        Case("of another version", STORES, "a score store of version 9; this Limbeck reads 1", edit("store/meta.json", '"version": 1', '"version": 9')),
        Case("without its rows", STORES, "this score store is damaged", delete("store/*/rows.arrow")),
        Case("cut", f"{TRAIN} name=new", "store: this score store is damaged", cut("store/*/rows.arrow", 0.9), mended=True),
        Case("of another collection", f"{TRAIN} name=new", "the scores are of the collection .*checks.ignore", edit("beir/corpus.jsonl", "d00", "e00")),
        Case("a folder outside named in it", STORES, "is no name of a store's data", edit("store/meta.json", '"checksum": "', '"checksum": "../../x')),
    ],
    "Servers that score": [
        Case("nobody there", f"{SERVER} teacher.url=http://127.0.0.1:9 out=new", r"teacher: http://127.0.0.1:9/rerank: no server answers \(Connection refused\), tried once; start it, or correct teacher.url"),
        Case("no address", f"{SERVER} teacher.url=localhost:8000 out=new", "is no address; teacher.url is one as http://localhost:8000"),
        Case("a form that there is not", f"{SERVER} teacher.url=http://localhost teacher.form=openai out=new", "teacher.form must be one of tei, vllm_score, vllm_rerank, jina, got 'openai'"),
        Case("a template without its place", f"{SERVER} teacher.url=http://localhost teacher.query_template=query out=new", "teacher.query_template must have {query} in it"),
        Case("a key that is in no variable", f"{SERVER} teacher.url=http://localhost teacher.bearer_from=NO_SUCH_VARIABLE out=new", "teacher.bearer_from must name a variable of the environment"),
    ],
    "Checkpoints, models, tokenizers": [
        Case("no such run", "export run=runs/none out=made", "there is no folder 'runs/none'"),
        Case("a run without a model", EXPORT, "has no model yet; give its limbeck train command again", delete("RUN/model")),
        Case("weights cut", EXPORT, MODEL, cut("RUN/model/model.safetensors")),
        Case("limbeck.json cut", EXPORT, "limbeck.json cannot be read: .*; save or export the model again", write("RUN/model/limbeck.json", BROKEN)),
        Case("limbeck.json with an unknown option", EXPORT, "student.poolng is no key", edit("RUN/model/limbeck.json", '"pooling"', '"poolng"')),
        Case("a tokenizer cut", EXPORT, MODEL, write("RUN/model/tokenizer.json", BROKEN)),
        Case("no tokenizer", EXPORT, MODEL, delete("RUN/model/tokenizer.json")),
        Case("a vocabulary larger than the weights", EXPORT, r"word_embeddings.weight \(79, 16\) instead of \(179, 16\)", edit("RUN/model/config.json", '"vocab_size": ', '"vocab_size": 1')),
        Case("weights on top damaged", EXPORT, MODEL, write("RUN/model/head.safetensors", b"x")),
        Case("into a folder of other things", "export run=RUN out=beir", "beir' is there and was not exported by limbeck"),
        Case("a hub's model without a network", "index out=new data=synthetic backbone=pretrained backbone.model=nobody/nothing", "or a hub name this machine can reach"),
        Case("a folder that holds no model", "export run=beir out=made", "holds neither limbeck.json nor modules.json"),
        Case("a module that is not known", "export run=foreign out=made", "names the module custom_st.Transformer, code that is not", write("foreign/modules.json", '[{"path": "", "type": "custom_st.Transformer"}]')),
        Case("a backbone out of another student's folder", "index data=collection data.collection=beir accelerator=cpu out=new student=colbert backbone=pretrained backbone.model=RUN", "it holds a dense, not a colbert. student=saved student.folder="),
        Case("weights that no checkpoint gives", "index data=collection data.collection=beir accelerator=cpu out=new student=colbert backbone=pretrained backbone.model=RUN/model", "does not give projection.weight, which would start at random", delete("RUN/model/limbeck.json")),
        Case("a sparse student of a decoder", f"{READ} student=splade", r"backbone.model: 'plain' is a decoder \(llama\): its head predicts the next word", both(PLAIN, write("plain/config.json", '{"model_type": "llama"}'))),
        Case("an encoder with a decoder", READ, "backbone.model: 'plain' is of the type 't5', an encoder with a decoder; take an encoder of the family of BERT", both(PLAIN, write("plain/config.json", '{"model_type": "t5"}'))),
        Case("a model of images, too", READ, "backbone.model: 'plain' is of the type 'gemma3', which reads more than text", both(PLAIN, write("plain/config.json", '{"model_type": "gemma3"}'))),
        Case("an encoder that should read both ways", f"{READ} backbone.bidirectional=true", "backbone.bidirectional: 'plain' is an encoder, which reads both ways; set it to false", PLAIN),
        Case("an end token that is not there", f"{READ} backbone.end_token=true", "backbone.end_token: the tokenizer of 'plain' has no end token", PLAIN),
        Case("a checkpoint cut", TRAIN, "damaged are last.ckpt .*Remove the folder and run again", both(UNFINISHED, cut("RUN/checkpoints/last.ckpt"))),
        Case("a checkpoint cut, evaluated", "evaluate run=RUN/checkpoints/last.ckpt eval=folder eval.sets.folder.collection=beir", "last.ckpt could not be read", cut("RUN/checkpoints/last.ckpt")),
    ],
    "Indexes": [
        Case("no such index", "search index=none out=found.trec", "none is no index: it has no index.json"),
        Case("index.json cut", SEARCH, "index/index.json is damaged; delete index and make the index anew", write("index/index.json", BROKEN)),
        Case("index.json of something else", SEARCH, "index is an index of another version", write("index/index.json", '{"format": 1}')),
        Case("a shard cut", SEARCH, "shard-000000 cannot be read .*delete it and give the limbeck index command again", cut("index/shard-000000/values.npy"), mended=True),
        Case("a folder for the run file", "search index=index out=beir force=true", "out: beir is a folder; give the file to write"),
        Case("an index of another corpus", INDEX, "index holds an index of other settings", document("dx")),
        Case("a shard beyond the last", f"{INDEX}2 shard=3/2", "shard must be i/n with i from 1 to n"),
        Case("an index larger than the disk", f"{INDEX}2", "encoding the collection needs .* of disk in index2, and 100 B are free: set dtype=float16", little(disk=100)),
        Case("a graph larger than the memory", f"{INDEX}2 backend=faiss backend.type=hnsw", "backend=faiss backend.type=hnsw needs .* of memory, and 100 B are free: choose backend=exact", little(memory=100)),
        Case("a BM25 index larger than the memory", f"{MINE} candidates.k1=1.5", "BM25 index of beir needs .* of memory, and 100 B are free: take candidates=dense", little(memory=100)),
        Case("rankings larger than the memory", f"{SEARCH} depth=7", "the best 7 documents of .* queries needs .* of memory, and 100 B are free: set a smaller depth", little(memory=100)),
    ],
    "Finished runs": [
        Case("no such sweep", "report none", "there is no folder runs/none; there are base"),
        Case("no finished run", "report base", "no finished run in base", delete("RUN/result.json")),
        Case("result.json cut", "report base", "result.json cannot be read", write("RUN/result.json", BROKEN)),
        Case("result.json of something else", "report base", "are not those of a run of limbeck train", write("RUN/result.json", "{}")),
        Case("config.yaml broken", "report base", "config.yaml cannot be read", write("RUN/config.yaml", "a: [")),
        Case("no table named", "table", "table must be given: table=…"),
        Case("a table of no runs", "table table=small_losses", "there is neither runs/small_losses nor small_losses; limbeck train sweeps=small_losses makes it"),
        Case("compared though unfinished", "evaluate compare=RUN baseline=RUN", "is not finished; run its command again", delete("RUN/result.json")),
        Case("trained again on a result that is cut", TRAIN, "result.json cannot be read .*delete it and give the command again", write("RUN/result.json", BROKEN)),
    ],
    "Folders and processes": [
        Case("runs that cannot be written", f"{TRAIN} name=new paths.runs=/proc/runs", "/proc/runs: it does not exist, and cannot be created"),
        Case("a file for a run folder", f"{TRAIN} name=new", "runs/new: there is a file where a folder should be", write("runs/new", "")),
        Case("a name that leads elsewhere", f"{TRAIN} name=../../elsewhere", "name must be a folder below paths.runs=runs, got '../../elsewhere'"),
        Case("a name that is an absolute path", "report /etc", "name must be a folder below paths.runs=runs, got '/etc'"),
    ],
    "Settings": [
        Case("an unknown verb", "trian", "'trian' is no verb; did you mean train"),
        Case("an unknown option", f"{MINE} candidates.dept=3", "candidates.dept is no key of the configuration; did you mean depth"),
        Case("a rate out of range", f"{TRAIN} name=new optim.lr=-1", "optim.lr must be > 0, got -1.0"),
        Case("an unknown metric", f"{EVALUATE} metrics=[ndgc@10]", "metrics has 'ndgc@10', which ranx does not know; did you mean ndcg@10"),
        Case("a metric of trec_eval that is not computed", f"{EVALUATE} metrics=[gm_map]", "metrics has 'gm_map', which is not computed here; the nearest is map"),
        Case("a path with other letters", "mine data.collection=käse", "quote the value: 'data.collection=\"käse\"'"),
        Case("a path with a comma", "mine data.collection=a,b", "for a text with a comma 'data.collection=\"a,b\"', for a run of each add -m"),
        Case("a setting written as an option", "train --seed=1", "--seed=1 is no option; settings are written key=value: seed=1"),
        Case("an environment variable that is not set", "mine 'data.collection=${oc.env:NO_SUCH}'", "data.collection: .*Environment variable 'NO_SUCH' not found"),
        Case("null for a part", f"{TRAIN} name=new teacher=null", "teacher=null: teacher takes the name of a part; teacher=none goes without"),
        Case("a number for a part", f"{TRAIN} name=new optim=5", "optim=5: optim takes the name of a part"),
        Case("two parts for one", f"{TRAIN} name=new 'student=[dense,colbert]'", "student takes one name, not a list of several"),
        Case("a term twice", f"{TRAIN} name=new 'loss=[kl,kl]'", "loss.kl is chosen twice; name it once"),
        Case("a part taken out", f"{TRAIN} name=new logger=[]", "logger is missing; leave out logger=\\[\\] and ~logger"),
        Case("a value for the options of a part", f"{TRAIN} name=new loss.kl=null", "loss.kl must be a part with its options, loss.kl.OPTION=…, got null"),
        Case("a word for limits", f"{TRAIN} name=new pool.denoise=strict", "pool.denoise must be null or limits, as pool.denoise.absolute=…, got 'strict'"),
        Case("a number that is not finite", f"{TRAIN} name=new student.scale=inf", "student.scale must be a finite number, got inf"),
        Case("a word for a list", f"{TRAIN} name=new eval.metrics=ndcg@10", "eval.metrics must be a list, also of one: eval.metrics=\\[…\\]"),
        Case("a path with ~", f"{TRAIN} name=new 'paths.runs=~/runs'", '~ is read by shells alone, and not behind every =; write paths.runs="\\$HOME/runs"'),
        Case("a package that is not installed", "index data=synthetic accelerator=cpu out=new backbone=pretrained backbone.model=package:nothing/model", "backbone.model 'package:nothing/model' needs the Python package nothing"),
        Case("a package of a teacher that is not installed", "score data=synthetic teacher=saved teacher.student.folder=package:nothing/model out=new", "teacher.student.folder: 'package:nothing/model' needs the Python package nothing"),
        Case("an index of a student that nobody trained", f"index {COLLECTION} out=new", "backbone: all its weights start at random, and nothing trains them here: .*student=saved with its folder"),
        Case("a teacher that nobody trained", f"score {COLLECTION} teacher=dense backbone@teacher.backbone=tiny out=new", "teacher.backbone: all its weights start at random, and nothing trains them here: .*teacher=saved with its folder"),
        Case("queries longer than the backbone reads", f"{TRAIN} name=new student.query_length=1000", "student.query_length: 1000 tokens do not fit the backbone, which reads at most 256"),
        Case("a suffix that leaves no room", f"{TRAIN} name=new student=cross_encoder student.document_length=4 'student.document_suffix= all day all day'", "student.document_length: 4 tokens leave no room for a word before the 4 of document_suffix"),
        Case("a run file in a place that takes none", "search index=index out=/proc/found.trec accelerator=cpu", "/proc/.found.trec.lock: it does not exist, and cannot be created"),
        Case("nothing to score with", f"score {COLLECTION} teacher=none out=new", "teacher=none scores nothing; choose one"),
        Case("a search of nothing", f"tune {COLLECTION}", "tune.space must be given"),
    ],
    "Language models that judge": [
        Case("an answer that is several tokens", f"{LM}=causal_lm teacher.max_length=500 teacher.prompt.positive=relevant", r"teacher.prompt.positive: 'relevant' is not one token of this tokenizer but \d: \[", language_model("llama")),
        Case("an answer that is no text", f"{LM}=causal_lm teacher.prompt.positive=true", """teacher.prompt.positive must be a text, got True; .* is quoted: 'teacher.prompt.positive="true"'""", language_model("llama")),
        Case("a prompt longer than the context", f"{LM}=causal_lm teacher.max_length=20", r"query 'q0': its prompt has \d+ tokens without a document, which leaves no room for one in 20; raise teacher.max_length", language_model("llama")),
        Case("a length that the model does not read", f"{LM}=causal_lm teacher.max_length=9999", "teacher.max_length must be >= 1 and <= 512, what this model reads; got 9999", language_model("llama")),
        Case("weights that are not finite", f"{LM}=causal_lm teacher.max_length=500", "the teacher lm gives query 'q0' and document 'd00' the score nan: its weights are damaged, or overflow", language_model("llama", nan=True)),
        Case("an encoder", f"score {COLLECTION} teacher=causal_lm teacher.model=RUN/model out=new", "teacher.model: .* is of the type 'bert', an encoder, which writes no answers; take teacher=cross_encoder or teacher=dense for it"),
        Case("an encoder with a decoder, for a decoder", f"{LM}=causal_lm", "teacher.model: 'lm' is of the type 't5', an encoder with a decoder; take teacher=seq2seq for it", language_model("t5")),
        Case("a decoder, for an encoder with a decoder", f"{LM}=seq2seq", "teacher.model: 'lm' is of the type 'llama', a decoder alone; take teacher=causal_lm for it", language_model("llama")),
        Case("a model that is nowhere", f"{LM}=causal_lm", "teacher.model: the hub model 'lm' could not be loaded"),
        Case("a language model for its head", f"{LM}=causal_lm teacher.prompt.score=head teacher.max_length=500", "teacher.model: 'lm' does not hold score.weight of LlamaForSequenceClassification: they would be random", language_model("llama")),
        Case("a template without the document", f"{LM}=causal_lm 'teacher.prompt.segments=[\"{{query}} ?\"]'", "teacher.prompt.segments lacks {document}: the model would not see the document"),
        Case("a template without the query", f"{LM}=causal_lm 'teacher.prompt.segments=[\"{{document}} ?\"]'", "teacher.prompt.segments lacks {query}: the model would not see the query"),
        Case("an unknown place in a template", f"{LM}=causal_lm 'teacher.prompt.segments=[\"{{query}} {{passage}}\"]'", "teacher.prompt.segments has the unknown place {passage}; places are {instruction}, {query}, {document}"),
        Case("a word for the prompt", f"{LM}=causal_lm teacher.prompt=qwen3", "teacher.prompt holds the options of a part; the part itself is chosen by teacher/prompt=qwen3"),
        Case("prompts of a teacher that reads none", f"score {COLLECTION} show=true candidates.depth=6 accelerator=cpu teacher=saved teacher.student.folder=RUN", "show=true prints prompts, which teacher=causal_lm and teacher=seq2seq have"),
        Case("no store to score into", f"score {COLLECTION} teacher=causal_lm teacher.model=lm", "out must be given"),
    ],
    "What is legal": [
        Case("quotes, accents, other scripts, hard spaces in an id", MINE, "training pool", document("d\\\\'\\\"\u00e9\u4e2d\u00a0x"), 0),
        Case("null for a part that may be missing", f"{SEARCH} data=null candidates=null backend=null", "exact", None, 0),
        Case("a run's own collection, indexed", "index student=saved student.folder=RUN accelerator=cpu out=new", "encoded 12 of 12 documents", None, 0),
        Case("a run's own collection, scored", "score teacher=saved teacher.student.folder=RUN accelerator=cpu candidates.depth=6 out=new", "data: beir, the collection of teacher.student.folder=RUN".replace("RUN", ".*"), None, 0),
        Case("a run file of a run, mined", "mine candidates=run candidates.file=RUN/runs/test.student.trec splits=[test]", "data: beir, the collection of candidates.file=", None, 0),
        Case("an empty document", f"{INDEX}2", "encoded 13 of 13 documents", document("dx", ""), 0),
        Case("a document of 400 kB", f"{INDEX}2", "encoded 13 of 13 documents", document("dx", "cats " * 80_000), 0),
        Case("an empty query", MINE, "1 training queries have no candidates", asked("", "who cats", "who fish", "who birds"), 0),
        Case("queries that find nothing", MINE, "4 training queries have no candidates", asked("?", "!", "...", "-"), 0),
        Case("a query without a positive", MINE, "training pool", judge("q0\td00\t0", "q1\td10\t1"), 0),
        Case("words behind the tag of a run", EVALUATE, "run.trec", edit("run.trec", "11.5 me", "11.5 me, version 2"), 0),
        Case("comments in a run", EVALUATE, "run.trec", edit("run.trec", "q0 Q0 d01", "# by hand\nq0 Q0 d01"), 0),
        Case("metrics as trec_eval spells them", f"{EVALUATE} metrics=[ndcg_cut_10,P.5,recip_rank]", "precision@5", None, 0),
        Case("a mark of UTF-8 before the judgments", EVALUATE, "qrels.txt", recode("qrels.txt", "utf-8-sig"), 0),
    ],
}
