"""The sections of a configuration: their keys, defaults and allowed values."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from convrec.config.paths import is_address

SamplerName = Literal["free", "lines", "distinct", "constrained"]


class Section(BaseModel):
    """Frozen, and closed: an unknown key is an error, never ignored."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False
    )


class Ingest(Section):
    """Where conversations and the catalog come from."""

    format: Literal["demo", "reddit-v2", "inspired", "redial"] = "reddit-v2"
    path: str = Field("", description="File or folder with the conversations.")
    catalog: str = Field(
        "",
        description="CSV or Parquet catalog; `catalog:NAME`: the newest version that was published "
        "under this name, or `catalog:NAME@3`; empty: the one beside `path`.",
    )
    columns: dict[Literal["title", "year", "item_id", "aliases", "genres"], str] = Field(
        default={}, description="What the catalog file calls these columns, where it differs."
    )
    world: Literal["films", "books"] = Field(
        "films", description="What the posts of format `demo` are about."
    )
    limit: int = Field(0, ge=0, description="Use the first LIMIT contexts of each split; 0: all.")
    contexts: dict[Literal["train", "validation", "test"], Annotated[int, Field(gt=0)]] = Field(
        default={"train": 2000, "validation": 200, "test": 200},
        description="Posts that the demo's generator writes, by split. Other formats ignore it.",
    )

    @property
    def names(self) -> dict[str, str]:
        """`columns` as plain text: our name of a column, and the file's."""
        return {str(name): column for name, column in self.columns.items()}


class Recommend(Section):
    """The teacher: which model is asked, and how."""

    source: Literal["live", "batch", "replay", "provided"] = Field(
        "live",
        description="Ask call by call, ask through the Batch API at half the price, take answers "
        "from a file, or take the lists that the data bring.",
    )
    replay: str = Field("", description="OpenAI Batch output file, joined by conversation id.")
    model: str = "gpt-4o-mini"
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(600, gt=0, description="Of an answer; reasoning counts in.")
    years: bool = Field(True, description="Whether lists carry years: `domain.line`, or not.")


class Remap(Section):
    """s_remap = p·(S + I) + λ·s_conv."""

    similarity: Literal["tfidf", "sentence-transformers", "openai"] = Field(
        "tfidf",
        description="What S and s_conv are measured with: TF-IDF over title, year and genres; a "
        "model on this machine (extra `st`); embeddings of the endpoint in `llm`.",
    )
    model: str = Field(
        "",
        description="The model that embeds: a folder or Hub name, or the endpoint's name of it. "
        "Empty: all-MiniLM-L6-v2 and text-embedding-3-small.",
    )
    similarity_weight: float = Field(0.3, ge=0, description="Scale of S beside the identity I.")
    conversation_weight: float = Field(0.3, ge=0, description="λ, the weight of s_conv.")
    keep: int = Field(50, gt=0, description="Candidates kept a context.")


class Reflect(Section):
    """s_reflect = s_remap + γ·(rating/L)."""

    enabled: bool = True
    source: Literal["live", "batch"] = Field("live", description="Call by call, or Batch API.")
    model: str = "gpt-4o-mini"
    response_format: Literal["json_schema", "json_object", "text"] = Field(
        "json_schema",
        description="What the endpoint can enforce: a schema (OpenAI, vLLM, llama-server), a JSON "
        "object (llama-cpp-python, with the schema beside it), or nothing.",
    )
    top: int = Field(30, gt=0, description="N_r: how many candidates the judge rates.")
    passes: int = Field(2, gt=0, description="Times that each is rated, in different orders.")
    debias: bool = Field(False, description="Take the fitted effect of the position off ratings.")
    scale: int = Field(2, gt=0, description="L: ratings run from −L to +L.")
    weight: float = Field(0.5, ge=0, description="γ: what a full rating adds to the score.")
    max_characters: int = Field(6000, gt=0, description="Conversation text shown: its two ends.")
    max_tokens: int = Field(600, gt=0, description="Of an answer; reasoning counts in.")


class Adjust(Section):
    """s_final = w ⊙ s_reflect + b, learned on training ground truth."""

    pull: float = Field(0.5, ge=0, description="Weight of the pull of w towards 1.")
    bias_pull: float = Field(128, ge=0, description="Weight of the pull of b towards 0.")
    balance: float | None = Field(
        None,
        ge=0,
        description="κ: how strongly an item that the teacher lists often is lowered. Empty: "
        "chosen on validation, the best ranking among those that lower the popularity Gini.",
    )
    patience: int = Field(10, gt=0, description="Iterations without a better validation loss.")
    max_iterations: int = Field(200, gt=0)
    enabled: bool = True


class Lora(Section):
    """Low-rank adaptation (PEFT); `rank = 0` trains all weights."""

    rank: int = Field(0, ge=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


class Model(Section):
    """The student."""

    base: str = Field(
        "tiny", min_length=1, description="`tiny`, `smollm2` (extra), a folder, or a Hub name."
    )
    prompt: Literal["instruct", "plain", "given"] = Field(
        "instruct",
        description="What the student reads: an instruction with the conversation, the "
        "conversation alone, or the prompt given in the data (the authors' schema has one).",
    )
    max_prompt_tokens: int = Field(512, gt=0)
    max_completion_tokens: int = Field(512, gt=0)
    vocabulary: int = Field(4096, ge=300, description="BPE size of the `tiny` tokenizer.")
    hidden: int = Field(128, gt=0, description="Width of the `tiny` model.")
    layers: int = Field(4, gt=0, description="Depth of the `tiny` model.")
    bf16: bool = Field(True, description="bf16 autocast where the processor has it.")


class Sft(Section):
    """Supervised fine-tuning (TRL SFTTrainer)."""

    epochs: float = Field(3, gt=0)
    learning_rate: float = Field(2e-5, gt=0)
    batch_size: int = Field(8, gt=0)
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    lora: Lora = Lora()


class RankGrpo(Section):
    """Rank-GRPO (TRL GRPOTrainer subclass)."""

    algorithm: Literal["rank_grpo", "grpo", "gspo", "dr_grpo", "dapo"] = "rank_grpo"
    reward: str = Field("exp_inf", description="`log`, `exp_inf`, or `exp:Γ` with Γ > 1.")
    reduction: Literal["rank", "token", "sequence"] = "rank"
    steps: int = Field(200, gt=0, description="Optimizer steps.")
    prompts_per_step: int = Field(8, gt=0)
    group_size: int = Field(8, gt=1, description="G: lists sampled for one prompt.")
    iterations: int = Field(1, gt=0, description="μ: optimizer steps on one generation.")
    learning_rate: float = Field(1e-6, gt=0)
    sampler: SamplerName = Field(
        "distinct",
        description="How lists are sampled: by the model alone; ended when N lines are written; "
        "so, and no line twice; from the catalog's unseen lines.",
    )
    vllm: Literal["", "colocate", "server"] = Field(
        "",
        description="Sample with vLLM, on GPUs: inside the training process, or from its server. "
        "Empty: the sampler of this project.",
    )
    vllm_url: str = Field("", description="The vLLM server, as http://127.0.0.1:8000.")
    temperature: float = Field(1.0, gt=0)
    beta: float = Field(1e-3, ge=0, description="KL weight to the SFT model.")
    epsilon_low: float = Field(0.06, gt=0)
    epsilon_high: float = Field(0.08, gt=0)
    overflow: float = Field(-0.1, description="In place of an advantage, on tokens past rank N.")
    exact: float = Field(0.1, description="In place of an advantage, on EOS after exactly N.")
    early: float = Field(-0.1, description="In place of an advantage, on EOS before N.")
    fault: float = Field(
        0.0,
        ge=0,
        description="What a line outside the catalog, seen or repeated costs its rank beside its "
        "reward of 0: weight of the group's mean fault less its own, added to advantages.",
    )
    eval_every: int = Field(20, ge=0, description="Steps between two looks at validation; 0: none.")
    eval_samples: int = Field(128, gt=0, description="Validation samples of a look.")
    patience: int = Field(
        0, ge=0, description="Stop after so many looks without a better NDCG@20; 0: never."
    )
    save_every: int = Field(
        20, ge=0, description="Steps between two savings that a killed run goes on from; 0: none."
    )
    lora: Lora = Lora()

    @model_validator(mode="after")
    def _vllm_is_free(self) -> RankGrpo:
        if self.vllm and self.sampler != "free":
            raise ValueError(
                f"rank_grpo.vllm={self.vllm} samples freely; set rank_grpo.sampler=free with it"
            )
        if self.vllm == "server" and not self.vllm_url:
            raise ValueError("rank_grpo.vllm=server needs rank_grpo.vllm_url, the server's address")
        return self

    @field_validator("reward")
    @classmethod
    def _known_reward(cls, value: str) -> str:
        if value in ("log", "exp_inf"):
            return value
        name, _, gamma = value.partition(":")
        try:
            if name == "exp" and float(gamma) > 1:
                return value
        except ValueError:
            pass
        raise ValueError("allowed are log, exp_inf, and exp:Γ with a number Γ > 1, as exp:2.0")


class Train(Section):
    """What starts the trainings of sft and rank_grpo; it is in no artifact's id."""

    launcher: Literal["process", "accelerate"] = Field(
        "process",
        description="Train in the process of the run, or in those that `accelerate launch` starts.",
    )
    parallel: str = Field(
        "ddp",
        description="How they share the work: `ddp`, `fsdp`, `zero3` (DeepSpeed), or the path of a "
        "configuration file of accelerate.",
    )
    processes: int = Field(0, ge=0, description="How many; 0: one a GPU, or as that file says.")


class Runner(Section):
    """Where stages over contexts are computed; it is in no artifact's id."""

    kind: Literal["process", "dask"] = Field(
        "process", description="In the process of the run, or on a Dask cluster (extra `dask`)."
    )
    partitions: int = Field(
        0, ge=0, description="Parts of equal size that contexts are cut into; 0: one per 32,768."
    )
    address: str = Field(
        "", description="The cluster's scheduler, as tcp://10.0.0.1:8786; empty: one is started."
    )
    workers: int = Field(0, ge=0, description="Processes of a cluster that is started; 0: a core.")
    folder: str = Field(
        "",
        description="Where partitions keep their rows until they are committed: a folder that all "
        "workers see. Empty: below CONVREC_HOME.",
    )


class Evaluate(Section):
    """Sampled lists on the test split, and what is measured on them."""

    samples: int = Field(1, gt=0, description="Lists sampled for each test sample.")
    limit: int = Field(
        0, ge=0, description="Let models answer the first LIMIT posts of the test split; 0: all."
    )
    sampler: SamplerName = Field(
        "distinct", description="As `rank_grpo.sampler`; `free` shows what nothing helps."
    )
    temperature: float = Field(1.0, gt=0)
    batch_size: int = Field(64, gt=0)
    bootstrap: int = Field(1000, gt=0, description="Resamples behind each interval.")


class Price(Section):
    """US dollars for a million tokens."""

    input: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)
    output: float = Field(ge=0)


class Batch(Section):
    """The Batch API: how requests are packed, and how often we look."""

    max_requests: int = Field(50_000, gt=0, le=50_000, description="Requests in one batch.")
    max_bytes: int = Field(200_000_000, gt=0, le=200_000_000, description="Bytes of its file.")
    poll_seconds: float = Field(30, gt=0, description="Seconds between two looks at a batch.")
    max_rounds: int = Field(
        3, gt=0, description="Batches in which one request may be sent before it counts as failed."
    )


class Llm(Section):
    """The endpoint that teacher and judge share.

    Keys come from OPENAI_API_KEY or a Prefect Secret block, never from here.
    """

    base_url: str = Field("", description="Empty: OPENAI_BASE_URL, or the embedded server.")
    endpoint: str = Field("", description="Name in the request key; empty: the base URL.")
    max_usd: float | None = Field(None, ge=0, description="Stop before the call that crosses it.")
    secret: str = Field("", description="Prefect Secret block with the key; empty: OPENAI_API_KEY.")
    max_concurrency: int = Field(8, gt=0, le=4096, description="Requests on the way at once.")
    max_rpm: int | None = Field(None, gt=0, description="Requests a minute; empty: by the headers.")
    max_tpm: int | None = Field(None, gt=0, description="Tokens a minute; empty: by the headers.")
    max_attempts: int = Field(10, gt=0)
    max_failures: float = Field(0.05, ge=0, le=1, description="Share of failures that is borne.")
    timeout: float = Field(120, gt=0, description="Seconds for one request.")
    prices: dict[str, Price] = Field(default={}, description="Added to the shipped price table.")
    batch: Batch = Batch()

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        if urlsplit(value).username is not None:
            raise PydanticCustomError(
                "secret",
                "settings are stored and shown, so none may hold a user or password; "
                "set OPENAI_BASE_URL in the environment instead",
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value and not is_address(value):
            raise ValueError("give an address as in http://127.0.0.1:8000/v1, or leave it empty")
        return value


SourceSection = Literal["ingest", "recommend", "remap", "reflect", "adjust"]
