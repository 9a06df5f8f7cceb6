package org.rlhf4j.raft;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.FinishReason;
import org.rlhf4j.core.generate.JsonLines;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@code samples.jsonl} and {@code selected.jsonl} of an iteration. The first has the rows that
 * {@code generate} writes, with the prompt's ids and each response's {@code score}; {@code select}
 * reads them. The second has the rows that it selects, which {@code sft} reads.
 */
final class IterationFiles {
  private static final Logger LOG = LoggerFactory.getLogger(IterationFiles.class);
  private static final JsonMapper JSON =
      JsonMapper.builder().disable(SerializationFeature.FLUSH_AFTER_WRITE_VALUE).build();
  private static final int IGNORED = -100;

  private IterationFiles() {}

  /** The files' folder, iterations counted from 1. */
  static Path folder(Path outputDir, int iteration) {
    return outputDir.resolve("iterations").resolve("iteration-" + iteration);
  }

  /**
   * Writes responses.
   *
   * @param run names the policy and the settings that drew them
   * @param scores {@code [prompts * samples]}, null where they are not known yet
   */
  static void writeSamples(
      Path file,
      String run,
      List<PromptRow> prompts,
      List<List<Response>> responses,
      double[] scores) {
    write(
        file,
        prompts.size(),
        p -> {
          List<Response> ofPrompt = responses.get(p);
          int from = p * ofPrompt.size();
          double[] ofScores =
              scores == null ? null : Arrays.copyOfRange(scores, from, from + ofPrompt.size());
          return samples(prompts.get(p), ofPrompt, ofScores).put("run", run);
        });
  }

  private static ObjectNode samples(PromptRow prompt, List<Response> responses, double[] scores) {
    ObjectNode row = JSON.createObjectNode().put("index", prompt.index());
    row.put("prompt", prompt.text());
    row.set("prompt_token_ids", numbers(prompt.ids()));
    ArrayNode written = row.putArray("responses");
    for (int sample = 0; sample < responses.size(); sample++) {
      Response response = responses.get(sample);
      ObjectNode one = written.addObject().put("text", response.text());
      one.set("token_ids", numbers(response.tokenIds()));
      ArrayNode logProbs = one.putArray("log_probs");
      for (float logProb : response.logProbs()) {
        logProbs.add(logProb);
      }
      one.put("finish_reason", response.finishReason().label());
      if (scores != null) {
        one.put("score", scores[sample]);
      }
    }
    return row;
  }

  /**
   * Reads responses that were drawn before an interruption.
   *
   * @return null where there are none, or they are not those that would be drawn now
   */
  static List<List<Response>> readSamples(
      Path file, String run, List<PromptRow> prompts, int samples) {
    if (!Files.exists(file)) {
      return null;
    }
    List<JsonNode> rows;
    try {
      rows = parse(file);
    } catch (JsonProcessingException e) {
      return damaged(file, e.getOriginalMessage());
    } catch (CharacterCodingException e) {
      return damaged(file, "not UTF-8");
    } catch (IOException e) {
      throw unreadable(file, e);
    }
    if (rows.size() != prompts.size()) {
      return null;
    }
    List<List<Response>> responses = new ArrayList<>();
    for (int p = 0; p < rows.size(); p++) {
      JsonNode row = rows.get(p);
      boolean same =
          row.path("run").asText().equals(run)
              && row.path("index").asInt(-1) == prompts.get(p).index()
              && row.path("responses").size() == samples;
      if (!same) {
        return null;
      }
      List<Response> ofPrompt = new ArrayList<>();
      for (JsonNode one : row.path("responses")) {
        Response response = response(one);
        if (response == null) {
          return damaged(file, "line " + (p + 1) + " has a response that was not written so");
        }
        ofPrompt.add(response);
      }
      responses.add(ofPrompt);
    }
    return responses;
  }

  private static List<List<Response>> damaged(Path file, String reason) {
    LOG.warn("{} is damaged and made again: {}", file, reason);
    return null;
  }

  /** A response as {@link #samples} wrote it; null for anything else. */
  private static Response response(JsonNode one) {
    JsonNode written = one.path("log_probs");
    JsonNode ids = one.path("token_ids");
    boolean sound = one.path("text").isTextual() && ids.isArray() && !ids.isEmpty();
    sound &= written.isArray() && written.size() == ids.size();
    for (int i = 0; sound && i < ids.size(); i++) {
      sound = ids.path(i).isInt() && written.path(i).isNumber();
    }
    if (!sound) {
      return null;
    }
    float[] logProbs = new float[written.size()];
    for (int i = 0; i < logProbs.length; i++) {
      logProbs[i] = written.path(i).floatValue();
    }
    FinishReason reason =
        Arrays.stream(FinishReason.values())
            .filter(known -> known.label().equals(one.path("finish_reason").asText()))
            .findFirst()
            .orElse(null);
    return reason == null
        ? null
        : new Response(one.path("text").textValue(), ids(ids), logProbs, reason);
  }

  /**
   * Writes selected responses: as texts with their ids beside them where there are texts, else as
   * ids.
   *
   * @param places of the selected ones in {@code completions}, best first
   */
  static void writeSelected(
      Path file, List<Completion> completions, int[] places, double[] scores, boolean texts) {
    write(
        file,
        places.length,
        number -> {
          int place = places[number];
          Completion completion = completions.get(place);
          ObjectNode row =
              JSON.createObjectNode()
                  .put("index", completion.index())
                  .put("sample", completion.sample())
                  .put("score", scores[place]);
          if (texts) {
            row.put("prompt", completion.prompt()).put("completion", completion.text());
            row.set("prompt_token_ids", numbers(completion.promptIds()));
            row.set("token_ids", numbers(completion.ids()));
          } else {
            putTokens(row, completion.promptIds(), completion.ids());
          }
          return row;
        });
  }

  /** A prompt and a response as a training row of ids, the prompt without labels. */
  static void putTokens(ObjectNode row, int[] prompt, int[] response) {
    ArrayNode ids = numbers(prompt);
    ids.addAll(numbers(response));
    row.set("input_ids", ids);
    int[] ignored = new int[prompt.length];
    Arrays.fill(ignored, IGNORED);
    ArrayNode labels = numbers(ignored);
    labels.addAll(numbers(response));
    row.set("labels", labels);
  }

  /** Writes rows to train on, in a form that needs no tokenizer. */
  static void writeRows(Path file, List<TokenRow> rows) {
    write(
        file,
        rows.size(),
        number -> {
          TokenRow row = rows.get(number);
          int prompt = 0;
          while (prompt < row.length() && !row.targets()[prompt]) {
            prompt++;
          }
          ObjectNode one = JSON.createObjectNode();
          putTokens(
              one,
              Arrays.copyOf(row.ids(), prompt),
              Arrays.copyOfRange(row.ids(), prompt, row.length()));
          return one;
        });
  }

  /**
   * Reads what {@link #writeRows} wrote.
   *
   * @throws RlhfException by file and line where it is something else
   */
  static List<TokenRow> readRows(Path file) {
    List<TokenRow> rows = new ArrayList<>();
    try {
      for (JsonNode row : parse(file)) {
        int[] ids = ids(row.path("input_ids"));
        int[] labels = ids(row.path("labels"));
        int prompt = 0;
        while (prompt < labels.length && labels[prompt] == IGNORED) {
          prompt++;
        }
        if (labels.length != ids.length || prompt == ids.length) {
          throw RlhfException.input(
              "%s:%d: needs input_ids and as many labels, one of them not %d"
                  .formatted(file, rows.size() + 1, IGNORED));
        }
        rows.add(TokenRow.targetsFrom(ids, prompt));
      }
    } catch (IOException e) {
      throw unreadable(file, e);
    }
    return rows;
  }

  /** Writes rows one after the other, all or none. */
  static void write(Path file, int rows, IntFunction<ObjectNode> row) {
    JsonLines.write(
        file,
        rows,
        (json, number) -> {
          for (Map.Entry<String, JsonNode> field : row.apply(number).properties()) {
            json.writeFieldName(field.getKey());
            JSON.writeTree(json, field.getValue());
          }
        });
  }

  private static List<JsonNode> parse(Path file) throws IOException {
    List<JsonNode> rows = new ArrayList<>();
    for (String text : Files.readAllLines(file)) {
      rows.add(JSON.readTree(text));
    }
    return rows;
  }

  private static RlhfException unreadable(Path file, IOException e) {
    return RlhfException.input(file + ": cannot be read: " + e.getMessage(), e);
  }

  static ArrayNode numbers(int[] values) {
    ArrayNode numbers = JSON.createArrayNode();
    for (int value : values) {
      numbers.add(value);
    }
    return numbers;
  }

  static int[] ids(JsonNode list) {
    int[] ids = new int[list.size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = list.path(i).asInt();
    }
    return ids;
  }
}
