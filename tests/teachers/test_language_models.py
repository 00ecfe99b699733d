"""Language models that judge: beside plain transformers, a pair at a time, written here anew."""

import copy
import os
import random
import signal
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
import transformers
import yaml

from language_models import DOCUMENTS, LISTS, QUERIES, save, texts
from limbeck.config import ConfigError, home
from limbeck.scores.writer import StoreWriter
from limbeck.teachers.causal_lm import CausalLMTeacher
from limbeck.teachers.language_model.reading import Decoded
from limbeck.teachers.scoring import score_into
from limbeck.teachers.seq2seq import Seq2SeqTeacher

CPU = torch.device("cpu")
QWEN = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
)
TASK = "Given a web search query, retrieve relevant passages that answer the query"
BGE = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
    "prediction of either 'Yes' or 'No'."
)
MXBAI = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n",
    "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
    "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment "
    "(0 for not relevant, 1 for relevant).\nRelevance:",
    "<|im_end|>\n<|im_start|>assistant\n",
)


def prompt(name, **changed):
    file = home() / "conf" / "teacher" / "prompt" / f"{name}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) | changed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a tiny model, made once."""
    made = {}

    def make(family, **config):
        key = (family, *config.items())
        if key not in made:
            made[key] = save(tmp_path_factory.mktemp(family), family, **config)
        return made[key]

    return make


def teacher(kind, folder, template, **options):
    look_up = texts(QUERIES), texts(DOCUMENTS)
    return kind(*look_up, CPU, model=str(folder), prompt=template, **{"max_length": 300} | options)


def scores(judge, lists=LISTS):
    return dict(zip(lists, judge.score(list(lists), list(lists.values())), strict=True))


# -- plain transformers ------------------------------------------------------------------------------------------------


def of_qwen(tok, query, document, length):
    """Return token ids as the model card of Qwen3-Reranker makes them."""
    before, after = (tok.encode(text, add_special_tokens=False) for text in QWEN)
    pair = f"<Instruct>: {TASK}\n<Query>: {query}\n<Document>: {document}"
    room = length - len(before) - len(after)
    return before + tok(pair, truncation="longest_first", max_length=room)["input_ids"] + after


def of_bge(tok, query, document, length):
    """Return token ids as FlagEmbedding makes them."""
    a, b, prompt, sep = (
        tok(each, add_special_tokens=False)["input_ids"] for each in (f"A: {query}", f"B: {document}", BGE, "\n")
    )
    room = length - 1 - len(a) - 2 * len(sep) - len(prompt)
    return [tok.bos_token_id, *a, *sep, *b[:room], *sep, *prompt]


def of_mxbai(tok, query, document, length):
    """Return token ids as mxbai_rerank makes them."""
    system, task, end, query, document, sep = (
        tok(each, add_special_tokens=False)["input_ids"]
        for each in (*MXBAI, f"query: {query}", f"document: {document}", "\n")
    )
    room = length - len(system) - len(query) - 2 * len(sep) - len(task) - len(end)
    return [*system, *query, *sep, *document[:room], *sep, *task, *end]


def of_free(tok, query, document, length):
    """Return the token ids of the free prompt, cut by hand."""
    start = f"Does the document answer the query? Answer yes or no.\nQuery: {query}\nDocument: "
    whole = tok(f"{start}{document}\nAnswer:")["input_ids"]
    # The line break behind the document is a token by itself, so the tokens before and behind can be counted.
    behind = len(tok("\nAnswer:", add_special_tokens=False)["input_ids"])
    over = max(0, len(whole) - length)
    return [*whole[: len(whole) - behind - over], *whole[len(whole) - behind :]]


CAUSAL = {
    # family, prompt, ids, positive, negative, which logits count
    "qwen3": ("qwen3", "qwen3_reranker", of_qwen, "yes", "no", (1, -1)),
    "gemma2": ("gemma2", "bge_reranker_gemma", of_bge, "Yes", "No", (1, 0)),
    "mxbai": ("qwen3", "mxbai_rerank_v2", of_mxbai, "1", "0", (1, -1)),
    "llama": ("llama", "free", of_free, "\u0120yes", "\u0120no", (1, -1)),
}


@torch.no_grad()
def one_by_one(folder, ids_of, positive, negative, weights, length=300, dtype=torch.float32):
    """Return the scores of all pairs, each in a forward pass by itself."""
    tok = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    answers = tok.convert_tokens_to_ids([positive, negative])

    def score(query, document):
        ids = torch.tensor([ids_of(tok, QUERIES[query], DOCUMENTS[document], length)])
        assert ids.shape[1] <= length
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1, answers].double()
        return float(logits @ torch.tensor(weights, dtype=torch.float64))

    return {query: [score(query, document) for document in documents] for query, documents in LISTS.items()}


def assert_same(found, wanted, tolerance=1e-5):
    assert found.keys() == wanted.keys()
    for query, each in wanted.items():
        np.testing.assert_allclose(found[query], each, rtol=0, atol=tolerance)
    assert np.std(np.concatenate(list(found.values()))) > 0.05  # what is compared is not one number


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_model_scores_as_plain_transformers_does(name, folder):
    family, template, *reference = CAUSAL[name]
    where = folder(family)
    wanted = one_by_one(where, *reference)
    judge = teacher(CausalLMTeacher, where, prompt(template))
    assert judge.reuses_prefixes
    assert any(judge.look(query, "d6")["cut"] for query in QUERIES) == (name == "mxbai")
    assert_same(scores(judge), wanted)
    apart = teacher(CausalLMTeacher, where, prompt(template), prefix_cache=False, batch_tokens=900)
    assert not apart.reuses_prefixes
    assert_same(scores(apart), wanted)  # several lists in a batch, padded
    small = teacher(CausalLMTeacher, where, prompt(template), batch_tokens=1)
    assert_same(scores(small), wanted)  # a row a batch, unpadded
    shuffled = {query: documents[::-1] for query, documents in LISTS.items() if query != "q1"}
    mixed = scores(judge, shuffled | {"q1": ["d6"]})
    assert_same({q: s[::-1] for q, s in mixed.items() if q != "q1"}, {q: s for q, s in wanted.items() if q != "q1"})
    np.testing.assert_allclose(mixed["q1"], wanted["q1"][1:2], atol=1e-5)


@pytest.mark.parametrize("name", ["qwen3", "gemma2", "llama"])
def test_a_long_document_is_cut_and_nothing_else(name, folder):
    family, template, *reference = CAUSAL[name]
    length = {"qwen3": 150, "gemma2": 120, "llama": 80}[name]
    judge = teacher(CausalLMTeacher, folder(family), prompt(template), max_length=length)
    seen = judge.look("q1", "d6")
    assert seen["tokens"] == length
    assert seen["cut"] > 5
    assert QUERIES["q1"] in seen["prompt"]
    assert judge.look("q1", "d2")["cut"] == 0
    assert_same(scores(judge), one_by_one(folder(family), *reference, length=length))


@pytest.mark.parametrize("window", [20, 120])
def test_a_sliding_window_bounds_the_prefix_that_is_reused(window, folder, monkeypatch):
    family, template, *reference = CAUSAL["gemma2"]
    where = folder(family, sliding_window=window)
    judge = teacher(CausalLMTeacher, where, prompt(template))
    read, prefixes = judge._read.prefix, []
    monkeypatch.setattr(judge._read, "prefix", lambda ids: prefixes.append(len(ids)) or read(ids))
    assert judge.reuses_prefixes == (window == 120)
    assert_same(
        scores(judge), one_by_one(where, *reference)
    )  # d6 makes the prompts of two lists longer than the window
    assert not prefixes
    short = {"q1": ["d0", "d1", "d2", "d3", "d4"]}
    judge.score(list(short), list(short.values()))
    assert len(prefixes) == (window == 120)


def test_a_model_that_takes_no_prefix_is_read_whole(folder, caplog):
    where = folder("qwen3")
    judge = teacher(CausalLMTeacher, where, prompt("qwen3_reranker"))
    wanted = scores(judge)
    behind = judge._read.behind
    judge._read.behind = lambda prefix, rows: behind(prefix, rows) + 0.1  # as of a model whose cache does not hold all
    with caplog.at_level("INFO"):
        assert not judge._read.reuses_prefixes(judge._rows.samples())
    assert "with a cached prefix its logits differ by 0.1" in caplog.text
    config = transformers.MambaConfig(vocab_size=500, hidden_size=16, num_hidden_layers=1, state_size=4)
    other = copy.copy(judge._read)
    other._model = transformers.MambaForCausalLM(config)
    with caplog.at_level("INFO"):
        assert not other.reuses_prefixes(judge._rows.samples())
    assert_same(scores(teacher(CausalLMTeacher, where, prompt("qwen3_reranker"), prefix_cache=False)), wanted)


@pytest.mark.parametrize(("score", "weights"), [("positive", (1, 0)), ("negative", (0, 1)), ("difference", (1, -1))])
def test_either_logit_alone_or_their_difference(score, weights, folder):
    where = folder("qwen3")
    found = scores(teacher(CausalLMTeacher, where, prompt("qwen3_reranker", score=score)))
    assert_same(found, one_by_one(where, of_qwen, "yes", "no", weights))


def test_a_classification_head(folder):
    where = folder("qwen3_head")
    tok = transformers.AutoTokenizer.from_pretrained(where)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(where).eval()

    def score(query, document):
        ids = torch.tensor([of_qwen(tok, QUERIES[query], DOCUMENTS[document], 300)])
        return model(input_ids=ids).logits.item()

    judge = teacher(CausalLMTeacher, where, prompt("qwen3_reranker", score="head"))
    assert judge.reuses_prefixes
    assert_same(scores(judge), {query: [score(query, d) for d in documents] for query, documents in LISTS.items()})
    assert list(judge.look("q0", "d0")["answers"]) == ["head"]


@pytest.mark.parametrize("score", ["difference", "positive"])
def test_an_encoder_with_a_decoder_scores_as_plain_transformers_does(score, folder):
    where = folder("t5")
    tok = transformers.AutoTokenizer.from_pretrained(where)
    model = transformers.T5ForConditionalGeneration.from_pretrained(where).eval()

    @torch.no_grad()
    def monot5(query, document):
        ids = tok(f"Query: {QUERIES[query]} Document: {DOCUMENTS[document]} Relevant:", return_tensors="pt").input_ids
        assert ids[0, -1] == tok.eos_token_id
        logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        true, false = logits[tok.get_vocab()["\u2581true"]], logits[tok.get_vocab()["\u2581false"]]
        return float(true - false if score == "difference" else true)

    wanted = {query: [monot5(query, d) for d in documents] for query, documents in LISTS.items()}
    for tokens in (1, 900, 9000):
        judge = teacher(Seq2SeqTeacher, where, prompt("monot5", score=score), batch_tokens=tokens, max_length=512)
        assert_same(scores(judge), wanted)
    seen = teacher(Seq2SeqTeacher, where, prompt("monot5"), max_length=60).look("q1", "d6")
    assert (seen["tokens"], seen["cut"] > 5) == (60, True)
    assert seen["prompt"].endswith("Relevant:</s>")


# -- precision ---------------------------------------------------------------------------------------------------------


def test_in_16_bits_the_order_of_pairs_stays_where_they_differ_by_more_than_a_step(folder):
    family, template, *reference = CAUSAL["qwen3"]
    exact = one_by_one(folder(family), *reference)
    found = scores(teacher(CausalLMTeacher, folder(family), prompt(template), bf16=True))
    rough = one_by_one(folder(family), *reference, dtype=torch.bfloat16)
    # The same states in 16 bits, of a row alone and in a batch; the difference is taken in 32 bits.
    step = 2**-8 * 8
    compared = 0
    for query, wanted in exact.items():
        np.testing.assert_allclose(found[query], rough[query], atol=4 * step)
        more, less = np.nonzero(np.subtract.outer(wanted, wanted) > 4 * step)
        assert (found[query][more] > found[query][less]).all()
        compared += len(more)
    assert compared > 20
    values = np.concatenate(list(found.values()))
    assert len(set(values.tolist())) == len(values)
    assert (torch.tensor(values).bfloat16().float().numpy() != values).any()  # not cut to 16 bits


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_bos_is_as_the_tokenizer_has_it_once(folder):
    for changed, count in (
        ({}, 1),
        ({"bos": False}, 0),
        ({"bos": True}, 1),
        ({"segments": ["<|begin_of_text|>{query} {document}"]}, 1),
    ):
        judge = teacher(CausalLMTeacher, folder("llama"), prompt("free", **changed))
        row = judge._rows("q0", "who purrs", ["cats"])[0].ids.tolist()
        assert row.count(0) == count, changed
        assert row[:count] == [0] * count, changed
    with pytest.raises(ConfigError, match=r"^teacher.prompt.bos: this tokenizer has no BOS token"):
        teacher(CausalLMTeacher, folder("qwen3"), prompt("qwen3_reranker", bos=True))


def test_an_answer_of_several_tokens_is_refused_with_what_is_one(folder):
    with pytest.raises(ConfigError, match=r"^teacher.prompt.positive: 'true' is not one token of this tokenizer but 2: "
                                          r"\['t', 'rue'\]; single tokens are ' true' \(Ġtrue\)"):  # fmt: skip
        teacher(CausalLMTeacher, folder("qwen3"), prompt("qwen3_reranker", positive="true"))
    with pytest.raises(
        ConfigError, match=r"^teacher.prompt.negative: 'zebra' is not one .*no other spelling is a single token"
    ):
        teacher(Seq2SeqTeacher, folder("t5"), prompt("monot5", negative="zebra"))
    with pytest.raises(ConfigError, match=r"^teacher.prompt.negative: '' is not one token"):
        teacher(CausalLMTeacher, folder("qwen3"), prompt("qwen3_reranker", negative=""))


def test_what_scores_depend_on_is_their_identity(folder):
    def identity(where=None, kind="qwen3", **options):
        template = options.pop("template", prompt("qwen3_reranker"))
        return teacher(CausalLMTeacher, where or folder(kind), template, **options).identity()

    same = identity()
    assert same == identity(batch_tokens=1, prefix_cache=False)
    others = [
        identity(template=prompt("qwen3_reranker", instruction="Find it")),
        identity(template=prompt("qwen3_reranker", score="positive")),
        identity(max_length=200),
        identity(bf16=True),
        identity(folder("qwen3", seed=4)),
    ]
    texts_of = [str(each) for each in (same, *others)]
    assert len(set(texts_of)) == len(texts_of)
    assert teacher(CausalLMTeacher, folder("qwen3"), prompt("qwen3_reranker", score="positive")).number == "logit"
    judge = teacher(CausalLMTeacher, folder("qwen3"), prompt("qwen3_reranker"), bf16=True)
    whose = judge.provenance("a collection", "limbeck score")
    assert whose.prompt is not None
    assert whose.prompt.startswith("qwen3_reranker (")
    assert (whose.kind, whose.dtype, whose.max_length) == ("logit_difference", "bfloat16", "prompt 300 tokens")
    assert whose.revision == f"weights {judge.identity()['weights']}"


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_prompt_that_leaves_no_room_names_the_query(folder):
    judge = teacher(CausalLMTeacher, folder("llama"), prompt("free"), max_length=40)
    lists = {"q2": ["d0"], "q1": ["d0"]}
    with pytest.raises(
        ConfigError, match=r"^query 'q1': its prompt has \d+ tokens without a document, which leaves no"
    ):
        judge.scorer(judge.plan(lists, 100))
    with pytest.raises(ConfigError, match=r"^query 'q1': .* in 40; raise teacher.max_length"):
        judge.score(["q2", "q1"], [["d0"], ["d0"]])
    with pytest.raises(ConfigError, match=r"^teacher.max_length must be >= 1 and <= 512, the model's maximum; got 513"):
        teacher(CausalLMTeacher, folder("llama"), prompt("free"), max_length=513)
    assert teacher(CausalLMTeacher, folder("llama"), prompt("free"), max_length=None).max_length == 512
    with pytest.raises(ConfigError, match=r"^teacher.max_length: this model has no maximum length"):
        teacher(Seq2SeqTeacher, folder("t5"), prompt("monot5"), max_length=None)


def test_a_score_that_is_no_number_names_the_pair(folder, tmp_path):
    where = save(tmp_path / "nan", "qwen3")
    model = transformers.AutoModelForCausalLM.from_pretrained(where)
    tok = transformers.AutoTokenizer.from_pretrained(where)
    one, other = (set(of_qwen(tok, QUERIES["q0"], DOCUMENTS[document], 300)) for document in ("d0", "d2"))
    with torch.no_grad():
        model.get_input_embeddings().weight[min(one - other)] = float("nan")
    model.save_pretrained(where)
    judge = teacher(CausalLMTeacher, where, prompt("qwen3_reranker"))
    with pytest.raises(ConfigError, match=r"gives query 'q0' and document 'd0' the score nan: its weights are damaged"):
        judge.score(["q0"], [["d2", "d0"]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"segments": ["{query}"]}, "segments lacks {document}: the model would not see the document"),
        ({"segments": ["{document}"]}, "segments lacks {query}: the model would not see the query"),
        ({"segments": ["{query} {document} {passage}"]}, "segments has the unknown placeholder {passage}"),
        ({"segments": ["{query} {document} {document}"]}, "segments has {document} more than once"),
        ({"segments": ["{query} {document} {"]}, "segments '{query} {document} {': .*write a literal brace twice"),
        ({"segments": []}, "segments must be a list of texts"),
        ({"positive": True}, "positive must be a text, got True; .*: 'teacher.prompt.positive=\"true\"'"),
        ({"score": "logit"}, "score must be one of difference, positive, negative, head, got 'logit'"),
        ({"bos": "yes"}, "bos must be true, false or null"),
        ({"template": "x"}, "template is no option of a prompt; options are name, segments"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_refused_before_a_model_is_loaded(changed, message):
    with pytest.raises(ConfigError, match="^teacher.prompt." + message.replace("{", r"\{")):
        teacher(CausalLMTeacher, "nowhere", prompt("free") | changed)


def test_numbers_are_answers_too(folder):
    template = prompt("mxbai_rerank_v2", positive=1, negative=0)  # as teacher.prompt.positive=1 makes them
    assert list(teacher(CausalLMTeacher, folder("qwen3"), template).look("q0", "d0")["answers"]) == ["1", "0"]


def test_braces_that_are_doubled_are_braces(folder):
    judge = teacher(CausalLMTeacher, folder("llama"), prompt("free", segments=["{{}} {query} {document} {{query}}"]))
    assert judge.look("q0", "d0")["prompt"] == "<|begin_of_text|>{} who purrs cats purr all day {query}"


# -- killed ------------------------------------------------------------------------------------------------------------


def test_killed_five_times_it_ends_with_the_same_store(folder, tmp_path, forked, monkeypatch):
    judge = teacher(CausalLMTeacher, folder("llama"), prompt("free"), batch_tokens=400)
    lists = {f"{query}{n}": documents for n in range(3) for query, documents in LISTS.items()}
    monkeypatch.setattr(judge, "_query_texts", lambda ids: [QUERIES[each[:2]] for each in ids])
    rng = random.Random(5)
    rng.shuffle(documents := list(DOCUMENTS))
    lists["q0x"] = documents
    who = judge.provenance("a collection", "a command")

    def score(name):
        return score_into(tmp_path / name, judge, lists, who, size=6)  # lists of 7, 5 and 2 are cut by parts

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def killed(place, at):
        """Score, and die when a part is written, or at the forward pass of this number, within a part."""
        calls, read, add = 0, Decoded._logits, StoreWriter.add

        def counted(self, *given, **named):
            nonlocal calls
            calls += 1
            if place == "within" and calls == at:
                die()
            return read(self, *given, **named)

        def written(self, *given):
            add(self, *given)
            if place == "border":
                die()

        Decoded._logits, StoreWriter.add = counted, written
        score("killed")

    whole = score("whole")
    parts = []
    for place in ("within", "border", "within", "border", "within"):
        child = forked.start([], tmp_path, main=partial(killed, place, rng.randrange(2, 7)))
        assert forked.status(child) == -signal.SIGKILL, (tmp_path / "output").read_text()
        parts.append({file.name: file.read_bytes() for file in (tmp_path / "killed" / "parts").glob("*.arrow")})
        assert len(parts[-1]) < 9
    assert len(parts[1]) > len(parts[0])
    assert all(later[name] == data for one, later in pairwise(parts) for name, data in one.items())
    found = score("killed")
    assert found.checksum == whole.checksum
    for name in ("rows.arrow", "queries.arrow", "ids.arrow"):
        same = [(tmp_path / each / whole.checksum / name).read_bytes() for each in ("whole", "killed")]
        assert same[0] == same[1]
