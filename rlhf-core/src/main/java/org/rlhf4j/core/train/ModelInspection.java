package org.rlhf4j.core.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AdapterFolder;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorInfo;
import org.rlhf4j.core.model.AttentionSpec;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelHead;
import org.rlhf4j.core.model.ParameterSpec;
import org.rlhf4j.core.model.Positions;
import org.rlhf4j.core.model.Rope;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.report.Provenance;
import org.rlhf4j.core.report.TrainerState;
import org.rlhf4j.core.text.Tokenizer;

/** What a model folder holds: its model, its files, its tokenizer and where it comes from. */
public final class ModelInspection {
  private static final String NONE = "none";
  private static final String REWARD_STATS = "reward_stats.json";
  private static final JsonMapper JSON = new JsonMapper();

  private final ModelFolder folder;
  private final ModelFamilies.Model model;

  private ModelInspection(ModelFolder folder, ModelFamilies.Model model) {
    this.folder = folder;
    this.model = model;
  }

  /**
   * Reads a folder; the weights themselves are not loaded.
   *
   * @throws RlhfException if it holds no model that can be loaded
   */
  public static ModelInspection of(Path path) {
    ModelFolder folder = ModelFolder.open(path);
    return new ModelInspection(folder, ModelFamilies.of(folder));
  }

  /** Shows all sections. */
  public void show(Console console) {
    sections().forEach(console::facts);
  }

  /** Facts by name, under the titles of their sections, in the order of reading. */
  public Map<String, Map<String, String>> sections() {
    Map<String, Map<String, String>> sections = new LinkedHashMap<>();
    sections.put("Model " + folder.path(), architecture());
    sections.put("Parameters", parameters());
    folder.adapter().ifPresent(adapter -> sections.put("Adapter", adapter(adapter)));
    sections.put("Tokenizer", tokenizer());
    folder.generationConfig().ifPresent(config -> sections.put("Generation", values(config)));
    if (Files.exists(folder.path().resolve(REWARD_STATS))) {
      sections.put("Evaluation scores", values(json(folder.path().resolve(REWARD_STATS))));
    }
    if (Files.exists(folder.path().resolve(TrainerState.FILE_NAME))) {
      sections.put("Checkpoint", checkpoint());
    }
    Path run = folder.path().toAbsolutePath().normalize();
    if (!Files.exists(run.resolve(Provenance.FILE_NAME)) && sections.containsKey("Checkpoint")) {
      run = run.getParent();
    }
    if (Files.exists(run.resolve(Provenance.FILE_NAME))) {
      sections.put("Provenance", provenance(Provenance.read(run)));
    }
    return sections;
  }

  private Map<String, String> architecture() {
    DecoderSpec spec = model.spec();
    AttentionSpec attention = spec.attention();
    boolean reward = model.head() == ModelHead.SEQUENCE_CLASSIFICATION;
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("architecture", model.family().architecture(model.head()));
    facts.put("family", spec.family());
    facts.put("kind", reward ? "reward model, one score per text" : "language model");
    facts.put("layers", Format.count(spec.layers()));
    facts.put(
        "width",
        "%s, MLP %s".formatted(Format.count(spec.hiddenSize()), Format.count(spec.mlp().width())));
    facts.put(
        "heads",
        "%d of width %d, sharing %d key/value heads"
            .formatted(attention.heads(), attention.headDim(), attention.keyValueHeads()));
    facts.put("vocabulary", Format.count(spec.vocabularySize()));
    facts.put("context", Format.count(spec.maxPositions()) + " tokens");
    facts.put("positions", positions(spec.positions()));
    if (attention.reach().localLayers().contains(true)) {
      long local = attention.reach().localLayers().stream().filter(each -> each).count();
      facts.put(
          "window",
          "%d tokens in %d of %d layers"
              .formatted(attention.reach().window(), local, spec.layers()));
    }
    if (attention.projections().outputBias() || spec.mlp().bias()) {
      List<String> biased = new ArrayList<>();
      if (attention.projections().outputBias()) {
        biased.add("attention");
      }
      if (spec.mlp().bias()) {
        biased.add("MLP");
      }
      facts.put("biases", String.join(", ", biased));
    }
    return facts;
  }

  private static String positions(Positions positions) {
    if (positions instanceof Positions.Rotary rotary) {
      return rope(rotary.rope());
    }
    return positions instanceof Positions.Alibi ? "ALiBi" : "learned";
  }

  private static String rope(Rope rope) {
    String scaling;
    if (rope.scaling() instanceof Rope.Unscaled) {
      scaling = "";
    } else if (rope.scaling() instanceof Rope.Linear linear) {
      scaling = ", stretched linearly by " + Format.number(linear.factor());
    } else {
      scaling = ", stretched as in Llama 3";
    }
    return "rotary, theta " + Format.number(rope.theta()) + scaling;
  }

  private Map<String, String> parameters() {
    DecoderSpec spec = model.spec();
    List<ParameterSpec> trunk = model.family().parameters(spec);
    List<ParameterSpec> head = model.family().headParameters(spec, model.head());
    Map<Boolean, Long> byPlace =
        trunk.stream()
            .collect(
                Collectors.partitioningBy(
                    parameter -> parameter.name().matches(".*\\.\\d+\\..*"),
                    Collectors.summingLong(ParameterSpec::elements)));
    long embedding = trunk.get(0).elements();
    long blocks = byPlace.get(true);
    long others = byPlace.get(false) - embedding;
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("embedding", Format.count(embedding));
    facts.put(
        "blocks",
        "%s, %d of %s"
            .formatted(Format.count(blocks), spec.layers(), Format.count(blocks / spec.layers())));
    facts.put("other", Format.count(others));
    facts.put("head", head.isEmpty() ? "0, tied to the embedding" : Format.count(count(head)));
    long total = count(trunk) + count(head);
    facts.put("total", Format.count(total) + " (" + Format.shortCount(total) + ")");
    facts.put("stored", stored());
    return facts;
  }

  private static long count(List<ParameterSpec> parameters) {
    return parameters.stream().mapToLong(ParameterSpec::elements).sum();
  }

  private String stored() {
    Map<StoredType, Long> bytes = new EnumMap<>(StoredType.class);
    Set<Path> files = new TreeSet<>();
    for (String name : folder.tensorNames()) {
      TensorInfo info = folder.info(name);
      bytes.merge(info.type(), info.byteLength(), Long::sum);
      files.add(folder.fileOf(name).path());
    }
    String types =
        bytes.entrySet().stream()
            .map(entry -> Format.bytes(entry.getValue()) + " of " + entry.getKey())
            .collect(Collectors.joining(", "));
    return types
        + " in "
        + (files.size() == 1
            ? files.iterator().next().getFileName().toString()
            : files.size() + " files");
  }

  private static Map<String, String> adapter(AdapterFolder adapter) {
    JsonNode config = adapter.config();
    long elements = adapter.tensors().tensors().stream().mapToLong(TensorInfo::elements).sum();
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("kind", config.path("peft_type").asText());
    facts.put("model", adapter.base().toString());
    facts.put(
        "rank, alpha",
        "%s, %s%s"
            .formatted(
                config.path("r"),
                config.path("lora_alpha"),
                config.path("use_rslora").asBoolean() ? " (rsLoRA)" : ""));
    facts.put("modules", config.path("target_modules").toString());
    if (config.hasNonNull("modules_to_save")) {
      facts.put("saved whole", config.get("modules_to_save").toString());
    }
    facts.put("parameters", Format.count(elements) + " (" + Format.shortCount(elements) + ")");
    return facts;
  }

  private Map<String, String> tokenizer() {
    Map<String, String> facts = new LinkedHashMap<>();
    if (!Tokenizer.existsIn(folder.tokenizerPath())) {
      facts.put("file", "none; rows of token ids are taken");
      return facts;
    }
    try (Tokenizer tokenizer = Tokenizer.load(folder.tokenizerPath())) {
      facts.put("file", tokenizer.origin().getFileName().toString());
      facts.put("vocabulary", Format.count(tokenizer.vocabularySize()));
      facts.put("BOS", token(tokenizer, tokenizer.bosId()));
      facts.put("EOS", token(tokenizer, tokenizer.eosId()));
      facts.put("PAD", token(tokenizer, tokenizer.padId()));
      facts.put("UNK", token(tokenizer, tokenizer.unkId()));
    }
    facts.put("chat template", chatTemplate());
    return facts;
  }

  private static String token(Tokenizer tokenizer, OptionalInt id) {
    return id.isPresent()
        ? id.getAsInt() + " " + tokenizer.decodeAll(new int[] {id.getAsInt()})
        : NONE;
  }

  private String chatTemplate() {
    for (String name : List.of("chat_template.jinja", "chat_template.json")) {
      if (Files.exists(folder.tokenizerPath().resolve(name))) {
        return "in " + name;
      }
    }
    Path config = folder.tokenizerPath().resolve("tokenizer_config.json");
    boolean inConfig = Files.exists(config) && json(config).hasNonNull("chat_template");
    return inConfig ? "in tokenizer_config.json" : NONE;
  }

  private static JsonNode json(Path file) {
    try {
      return JSON.readTree(file.toFile());
    } catch (IOException e) {
      throw RlhfException.input(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static Map<String, String> values(JsonNode object) {
    Map<String, String> facts = new LinkedHashMap<>();
    object
        .properties()
        .forEach(
            entry -> {
              JsonNode value = entry.getValue();
              facts.put(entry.getKey(), value.isTextual() ? value.asText() : value.toString());
            });
    return facts;
  }

  private Map<String, String> checkpoint() {
    TrainerState state = TrainerState.read(folder.path());
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("step", Format.count(state.globalStep()) + " of " + Format.count(state.maxSteps()));
    facts.put("epoch", Format.number(state.epoch()));
    if (state.bestMetric() != null) {
      facts.put("best so far", Format.number(state.bestMetric()));
    }
    return facts;
  }

  private static Map<String, String> provenance(Provenance provenance) {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("made by", provenance.method());
    facts.put(
        "versions",
        provenance.versions().entrySet().stream()
            .map(entry -> entry.getKey() + " " + entry.getValue())
            .collect(Collectors.joining(", ")));
    if (provenance.command() != null) {
      facts.put("command", String.join(" ", provenance.command()));
    }
    facts.put("start model", provenance.startModel().path());
    for (Provenance.DataFile file : provenance.data()) {
      facts.merge(
          file.role() + " data",
          file.path() + ", " + Format.count(file.rows()) + " rows",
          (first, second) -> first + "; " + second);
    }
    Provenance.Numerics numerics = provenance.numerics();
    facts.put(
        "computed",
        "%s, %s, %d threads, seed %d"
            .formatted(numerics.device(), numerics.dtype(), numerics.threads(), numerics.seed()));
    for (Provenance.Session session : provenance.sessions()) {
      String end =
          session.finished() == null
              ? ", not finished"
              : ", to step %s in %s"
                  .formatted(
                      session.toStep(),
                      Format.duration(
                          Duration.between(session.started(), session.finished()).toMillis()
                              / 1000.0));
      facts.put("started " + session.started(), "from step " + session.fromStep() + end);
    }
    return facts;
  }
}
