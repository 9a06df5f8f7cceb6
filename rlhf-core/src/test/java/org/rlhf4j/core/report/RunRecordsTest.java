package org.rlhf4j.core.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;

class RunRecordsTest {
  /** The arguments that TrainerState of transformers has had in all of 4.x and has in 5. */
  private static final Set<String> HUGGING_FACE_KEYS =
      Set.of(
          "best_metric",
          "best_model_checkpoint",
          "epoch",
          "eval_steps",
          "global_step",
          "is_hyper_param_search",
          "is_local_process_zero",
          "is_world_process_zero",
          "log_history",
          "logging_steps",
          "max_steps",
          "num_input_tokens_seen",
          "num_train_epochs",
          "save_steps",
          "stateful_callbacks",
          "total_flos",
          "train_batch_size",
          "trial_name",
          "trial_params");

  @TempDir Path folder;

  @Test
  void theTrainerStateHasHuggingFacesKeysAndReadsBack() throws Exception {
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("step", 10L);
    row.put("loss", 0.1 + 0.2);
    TrainerState state =
        new TrainerState(
            10, 100, 0.2, 2, 8, 10, null, 50, 4096, 1.5, "checkpoint-10", List.of(row));
    state.write(folder);

    JsonNode json = new ObjectMapper().readTree(folder.resolve("trainer_state.json").toFile());
    Set<String> keys = new TreeSet<>();
    json.fieldNames().forEachRemaining(keys::add);
    assertEquals(new TreeSet<>(HUGGING_FACE_KEYS), keys);
    assertEquals(10, json.get("global_step").asInt());
    assertEquals(0.2, json.get("epoch").asDouble());
    assertEquals(0.30000000000000004, json.get("log_history").get(0).get("loss").asDouble());
    assertTrue(json.get("eval_steps").isNull());
    assertEquals(state, TrainerState.read(folder));
  }

  @Test
  void aDamagedStateIsAnInputError() throws Exception {
    Files.writeString(folder.resolve("trainer_state.json"), "{\"global_step\": 1");
    RlhfException e = assertThrows(RlhfException.class, () -> TrainerState.read(folder));
    assertEquals(ExitCode.INPUT, e.exitCode());
    assertTrue(e.getMessage().contains("trainer_state.json"), e.getMessage());
  }

  @Test
  void samplesAreOneObjectPerLine() throws Exception {
    Path file =
        SampleLog.write(
            folder,
            20,
            List.of(
                new Sample(0, "Hi\n", "漢 \"a\"", 0.25, null, 3),
                new Sample(5, "p", "r", null, 1.5, 1)));
    assertEquals(folder.resolve("samples/step-20.jsonl"), file);
    assertEquals(
        """
        {"index":0,"prompt":"Hi\\n","response":"漢 \\"a\\"","score":0.25,"kl":null,"length":3}
        {"index":5,"prompt":"p","response":"r","score":null,"kl":1.5,"length":1}
        """,
        Files.readString(file));
  }

  @Test
  void provenanceReadsBackAndNamesTheSystem() throws Exception {
    Provenance provenance =
        new Provenance(
            "sft",
            Map.of("rlhf4j", "0.1.0"),
            List.of("sft", "--seed", "1"),
            Map.of("learning_rate", 2e-5),
            List.of(new Provenance.DataFile("train", "a.jsonl", "00ff", 3)),
            new Provenance.Model("models/tiny", "abcd"),
            new Provenance.Numerics("cpu", "bf16", 2, 1, Map.of("attention", "sdpa")),
            List.of(
                new Provenance.Session(Instant.parse("2026-01-02T03:04:05Z"), null, 0, null),
                new Provenance.Session(
                    Instant.parse("2026-01-02T04:04:05Z"),
                    Instant.parse("2026-01-02T05:04:05Z"),
                    10,
                    20L)));
    provenance.write(folder);
    assertEquals(provenance, Provenance.read(folder));
    JsonNode json = new ObjectMapper().readTree(folder.resolve("provenance.json").toFile());
    assertEquals(System.getProperty("java.version"), json.get("system").get("java").asText());
    assertEquals("2026-01-02T03:04:05Z", json.get("sessions").get(0).get("started").asText());
    assertEquals("abcd", json.get("start_model").get("sha256").asText());
  }

  @Test
  void hashesAreOfTheBytes() throws Exception {
    Path file = folder.resolve("abc");
    Files.writeString(file, "abc");
    // FIPS 180-2, appendix B.1.
    assertEquals(
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        Provenance.sha256(file));
    assertThrows(RlhfException.class, () -> Provenance.sha256(folder.resolve("missing")));
  }

  @Test
  void memoryFiguresAreThoseOfTheProcess() {
    List<String> status = List.of("Name:\tjava", "VmHWM:\t  300000 kB", "VmRSS:\t  204800 kB");
    assertEquals(209_715_200L, SystemStats.bytesOf(status, "VmRSS:"));
    assertNull(SystemStats.bytesOf(status, "VmSwap:"));
    assertEquals(
        Map.of("rss_mib", 200.0, "peak_rss_mib", 300.0, "heap_mib", 1.5),
        new SystemStats(200L << 20, 300L << 20, 3L << 19).metrics());
    assertEquals(Map.of("heap_mib", 1.0), new SystemStats(null, null, 1L << 20).metrics());
    assertTrue(SystemStats.now().usedHeapBytes() > 0);
  }

  @Test
  void theModelCardSaysWhatItWasGiven() throws Exception {
    Map<String, Object> config = new LinkedHashMap<>();
    config.put("learning_rate", 2e-5);
    config.put("template", "a|b");
    ModelCard card =
        new ModelCard(
            "my-model",
            "runs/it's \"my\"/my-model",
            "sft",
            "0.1.0",
            "models/tiny",
            false,
            false,
            true,
            List.of(new Provenance.DataFile("train", "a.jsonl", "00ff", 1600)),
            config,
            Map.of("eval_loss", 1.25),
            90);
    card.write(folder);
    assertEquals(
        """
        ---
        library_name: transformers
        pipeline_tag: text-generation
        tags:
        - rlhf4j
        - sft
        ---

        # my-model

        A causal language model. Made from `models/tiny` by supervised fine-tuning with RLHF4J 0.1.0.

        ## How it was made

        | setting | value |
        | --- | --- |
        | `learning_rate` | 2.0E-5 |
        | `template` | a\\|b |

        ## Data

        | use | file | rows | SHA-256 |
        | --- | --- | --- | --- |
        | train | a.jsonl | 1,600 | `00ff` |

        ## Results

        | metric | value |
        | --- | --- |
        | `eval_loss` | 1.25 |

        The figures are the last up to step 90, which the model is of; all of them stand in \
        `metrics.jsonl`, the versions, \
        hashes and the command in `provenance.json`.

        ## How to load it

        In the folder from which it was trained, with RLHF4J:

        ```
        ./rlhf generate --model_name_or_path 'runs/it'\\''s "my"/my-model' --dataset_path prompts.jsonl \
        --output_path out.jsonl
        ```

        With Python transformers:

        ```python
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained("runs/it's \\"my\\"/my-model")
        tokenizer = AutoTokenizer.from_pretrained("runs/it's \\"my\\"/my-model")
        inputs = tokenizer(text, return_tensors="pt")
        answer = tokenizer.decode(model.generate(**inputs, max_new_tokens=128)[0])
        ```
        """,
        Files.readString(folder.resolve("README.md")));
  }

  @Test
  void aRewardModelsCardLoadsASequenceClassifier() throws Exception {
    ModelCard card =
        new ModelCard(
            "rm",
            "../runs/rm",
            "reward",
            "0.1.0",
            "models/tiny",
            true,
            false,
            false,
            List.of(),
            Map.of(),
            Map.of(),
            1);
    String text = card.render();
    JsonNode head = new YAMLMapper().readTree(text.substring(4, text.indexOf("\n---\n", 4)));
    assertEquals("text-classification", head.get("pipeline_tag").asText());
    assertTrue(
        text.contains("AutoModelForSequenceClassification.from_pretrained(\"../runs/rm\")"), text);
    assertTrue(text.contains("./rlhf score --model_name_or_path ../runs/rm "), text);
    assertFalse(text.contains("AutoTokenizer"), "the folder has no tokenizer");
  }

  @Test
  void anAdaptersCardLoadsItWithPeft() {
    String text =
        new ModelCard(
                "rm",
                "../runs/rm",
                "reward",
                "0.1.0",
                "models/tiny",
                true,
                true,
                true,
                List.of(),
                Map.of(),
                Map.of(),
                1)
            .render();
    assertTrue(text.contains("library_name: peft\n"), text);
    assertTrue(text.contains("holds a LoRA adapter of the model it was made from"), text);
    assertTrue(
        text.contains(
            "AutoPeftModelForSequenceClassification.from_pretrained(\"../runs/rm\", num_labels=1)"),
        text);
  }
}
