package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.AtomicFolder;
import org.rlhf4j.core.checkpoint.ConfigJson;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.StrictJson;
import org.rlhf4j.core.checkpoint.TensorSource;

/**
 * The difference between a fine-tuned model and the base that it came from, as Vicuna and Wombat
 * publish their weights: who has the base adds the delta and has the model.
 *
 * <p>All arithmetic is that of one type, the one that the fine-tuned model is stored in: both
 * operands are rounded to it, then their sum or difference. A model with more words than its base
 * has its further rows whole in the delta, as if the base had zeros there. Configuration, tokenizer
 * and generation files are the fine-tuned model's. {@code delta.json} holds hashes of the base and
 * of what base plus delta gives, so that a wrong base or a damaged file is found out.
 */
public final class ModelDelta {
  /** In a delta's folder; deltas of other tools have none. */
  public static final String FILE_NAME = "delta.json";

  private static final String TYPE = "dtype";
  private static final String BASE_HASH = "base_sha256";
  private static final String RESULT_HASH = "result_sha256";
  private static final String INEXACT = "inexact_weights";
  private static final int CHUNK = 1 << 18;

  private final Part base;
  private final Part other;
  private final StoredType type;

  /** A model folder and what it describes. */
  private record Part(ModelFolder folder, ModelFamilies.Model model) {
    Part(ModelFolder folder) {
      this(folder, ModelFamilies.of(folder));
      if (folder.adapter().isPresent()) {
        throw RlhfException.input(
            folder.path()
                + ": an adapter has no weights to take a difference of; merge it first"
                + " (merge-lora)");
      }
    }

    void read(ParameterSpec parameter, long from, float[] target, int count) {
      model.read(folder, parameter.name(), from, FloatBuffer.wrap(target, 0, count));
    }
  }

  /**
   * What was done.
   *
   * @param type of the arithmetic and of the files
   * @param weights numbers written
   * @param inexact those of them that base plus delta does not give back exactly
   * @param paddingRows rows of the vocabulary that the base does not have
   * @param checked whether hashes were there to compare with
   */
  public record Result(
      StoredType type, long weights, long inexact, int paddingRows, boolean checked) {}

  private ModelDelta(Part base, Part other, StoredType type) {
    this.base = base;
    this.other = other;
    this.type = type;
    requireSameTensors();
  }

  /**
   * Writes what must be added to a base.
   *
   * @param target a folder that appears when it is complete; one of that name is replaced
   * @throws RlhfException where the models do not fit together, or a difference is too large for
   *     the type
   */
  public static Result make(ModelFolder base, ModelFolder tuned, Path target, long maxShardBytes) {
    ModelDelta delta = new ModelDelta(new Part(base), new Part(tuned), tuned.storedType());
    try (AtomicFolder growing = AtomicFolder.create(target)) {
      delta.write(growing.path(), -1, maxShardBytes);
      Part written = new Part(ModelFolder.open(growing.path()));
      ModelDelta back = new ModelDelta(delta.base, written, delta.type);
      Hash hash = new Hash();
      long inexact = back.compareSum(delta.other, hash);
      ObjectNode facts = JsonNodeFactory.instance.objectNode();
      facts.put(TYPE, delta.type.configName());
      facts.put(BASE_HASH, hash(delta.base, delta.type));
      facts.put(RESULT_HASH, hash.text());
      facts.put(INEXACT, inexact);
      AtomicFiles.write(growing.path().resolve(FILE_NAME), ConfigJson.toBytes(facts));
      growing.commit();
      return delta.result(inexact, true);
    }
  }

  /**
   * Writes the sum of a base and a delta.
   *
   * @param target a folder that appears when it is complete; one of that name is replaced
   * @throws RlhfException where the models do not fit together, or a hash says that the base is not
   *     the delta's or the sum is not what it was made for
   */
  public static Result apply(ModelFolder base, ModelFolder delta, Path target, long maxShardBytes) {
    Path factsFile = delta.path().resolve(FILE_NAME);
    boolean checked = Files.exists(factsFile);
    ObjectNode facts = checked ? StrictJson.read(factsFile) : null;
    StoredType type = checked ? type(facts, factsFile) : delta.storedType();
    ModelDelta sum = new ModelDelta(new Part(base), new Part(delta), type);
    if (checked) {
      requireHash(facts, factsFile, BASE_HASH, hash(sum.base, type), base.path().toString());
    }
    try (AtomicFolder growing = AtomicFolder.create(target)) {
      sum.write(growing.path(), 1, maxShardBytes);
      if (checked) {
        Part written = new Part(ModelFolder.open(growing.path()));
        String place = "the sum of " + base.path() + " and " + delta.path();
        requireHash(facts, factsFile, RESULT_HASH, hash(written, type), place);
      }
      growing.commit();
    }
    return sum.result(checked ? facts.path(INEXACT).asLong() : 0, checked);
  }

  private Result result(long inexact, boolean checked) {
    long weights = other.model().parameters().stream().mapToLong(ParameterSpec::elements).sum();
    int rows = other.model().spec().vocabularySize() - base.model().spec().vocabularySize();
    return new Result(type, weights, inexact, rows, checked);
  }

  private static StoredType type(ObjectNode facts, Path file) {
    StoredType type = StoredType.ofConfigName(facts.path(TYPE).asText());
    if (type == null) {
      throw RlhfException.input(
          file + ": dtype is " + facts.path(TYPE) + ", expected float32, float16 or bfloat16");
    }
    return type;
  }

  private static void requireHash(
      ObjectNode facts, Path file, String key, String found, String place) {
    JsonNode expected = facts.path(key);
    if (!found.equals(expected.textValue())) {
      throw RlhfException.input(
          "%s has the hash %s, but %s of %s is %s; %s"
              .formatted(
                  place,
                  found,
                  key,
                  file,
                  expected.isMissingNode() ? "missing" : expected.asText(),
                  key.equals(BASE_HASH)
                      ? "the delta was made from another base"
                      : "the delta's files were changed"));
    }
  }

  /** The same tensors with the same shapes, but for further rows of the vocabulary. */
  private void requireSameTensors() {
    List<ParameterSpec> ours = base.model().parameters();
    List<ParameterSpec> theirs = other.model().parameters();
    Set<String> vocabulary = vocabularyTensors(base.model().family());
    List<String> names = new ArrayList<>(theirs.stream().map(ParameterSpec::name).toList());
    for (ParameterSpec parameter : ours) {
      if (!names.remove(parameter.name())) {
        throw RlhfException.input(
            "%s: tensor %s of %s is missing"
                .formatted(other.folder().path(), parameter.name(), base.folder().path()));
      }
    }
    if (!names.isEmpty()) {
      throw RlhfException.input(
          "%s: tensor %s is not in %s"
              .formatted(other.folder().path(), names.get(0), base.folder().path()));
    }
    for (ParameterSpec parameter : theirs) {
      List<Long> expected = ofBase(parameter).dimensions();
      List<Long> found = parameter.dimensions();
      boolean padded =
          vocabulary.contains(parameter.name())
              && found.size() == expected.size()
              && found.get(0) > expected.get(0)
              && found.subList(1, found.size()).equals(expected.subList(1, found.size()));
      if (!found.equals(expected) && !padded) {
        throw RlhfException.input(
            "%s: tensor %s has shape %s, in %s it has %s; only the vocabulary may have more rows"
                .formatted(
                    other.folder().path(),
                    parameter.name(),
                    found,
                    base.folder().path(),
                    expected));
      }
    }
  }

  private static Set<String> vocabularyTensors(ModelFamily family) {
    String head = family.headName(ModelHead.CAUSAL_LM);
    return Set.of(family.embeddingName(), head, head.replace(".weight", ".bias"));
  }

  private ParameterSpec ofBase(ParameterSpec parameter) {
    return base.model().parameters().stream()
        .filter(each -> each.name().equals(parameter.name()))
        .findFirst()
        .orElseThrow();
  }

  private void write(Path target, int sign, long maxShardBytes) {
    ObjectNode config = other.folder().config();
    String architecture = other.model().family().architecture(other.model().head());
    ConfigJson.stamp(config, architecture, type);
    other.folder().carryTo(target);
    AtomicFiles.write(target.resolve("config.json"), ConfigJson.toBytes(config));
    List<TensorSource> sources = new ArrayList<>();
    for (ParameterSpec parameter : other.model().parameters()) {
      sources.add(
          TensorSource.floats(
              parameter.name(),
              type,
              parameter.shape(),
              (from, values) -> {
                float[] sum = sum(parameter, from, values.remaining(), sign);
                values.put(sum);
              }));
    }
    SafetensorsWriter.writeModel(target, sources, maxShardBytes);
  }

  /** Elements of other + sign · base in fp32, from operands of the type; zeros behind the base. */
  private float[] sum(ParameterSpec parameter, long from, int count, int sign) {
    float[] sum = new float[count];
    other.read(parameter, from, sum, count);
    ParameterSpec ofBase = ofBase(parameter);
    int shared = (int) Math.max(0, Math.min(count, ofBase.elements() - from));
    float[] added = new float[shared];
    if (shared > 0) {
      base.read(ofBase, from, added, shared);
    }
    for (int i = 0; i < count; i++) {
      float operand = i < shared ? sign * type.nearest(added[i]) : 0;
      sum[i] = type.nearest(sum[i]) + operand;
      if (!Float.isFinite(type.nearest(sum[i]))) {
        throw RlhfException.nonFinite(
            "tensor %s: element %d, %s, is too large for %s"
                .formatted(parameter.name(), from + i, sum[i], type.configName()));
      }
    }
    return sum;
  }

  /**
   * Hashes the sum and compares it with a model.
   *
   * @return how many of its numbers differ
   */
  private long compareSum(Part truth, Hash hash) {
    long different = 0;
    for (ParameterSpec parameter : other.model().parameters()) {
      hash.begin(parameter);
      for (long from = 0; from < parameter.elements(); from += CHUNK) {
        int count = (int) Math.min(CHUNK, parameter.elements() - from);
        float[] sum = sum(parameter, from, count, 1);
        float[] expected = new float[count];
        truth.read(parameter, from, expected, count);
        for (int i = 0; i < count; i++) {
          sum[i] = type.nearest(sum[i]);
          different += sum[i] == type.nearest(expected[i]) ? 0 : 1;
        }
        hash.add(sum);
      }
    }
    return different;
  }

  /** Of a model's numbers in a type, whatever files hold them. */
  private static String hash(Part part, StoredType type) {
    Hash hash = new Hash();
    for (ParameterSpec parameter : part.model().parameters()) {
      hash.begin(parameter);
      for (long from = 0; from < parameter.elements(); from += CHUNK) {
        int count = (int) Math.min(CHUNK, parameter.elements() - from);
        float[] values = new float[count];
        part.read(parameter, from, values, count);
        for (int i = 0; i < count; i++) {
          values[i] = type.nearest(values[i]);
        }
        hash.add(values);
      }
    }
    return hash.text();
  }

  /**
   * SHA-256 of each tensor's name, shape and numbers, little-endian fp32, in the family's order.
   */
  private static final class Hash {
    private final MessageDigest digest;

    Hash() {
      try {
        digest = MessageDigest.getInstance("SHA-256");
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException("every Java has SHA-256", e);
      }
    }

    void begin(ParameterSpec parameter) {
      String line = parameter.name() + " " + parameter.dimensions() + "\n";
      digest.update(line.getBytes(StandardCharsets.UTF_8));
    }

    void add(float[] values) {
      ByteBuffer bytes =
          ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      for (float value : values) {
        // Both zeros are one number: a sum cannot tell which it was.
        bytes.putFloat(value == 0 ? 0 : value);
      }
      digest.update(bytes.flip());
    }

    String text() {
      return HexFormat.of().formatHex(digest.digest());
    }
  }
}
