package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.MetricsLog;

/** The tables of METRICS.md: which metric stands in which rows of which verbs. */
final class MetricDictionary {
  private static final String HEADER = "| metric | in | meaning |";
  private static final String EVERY_ROW = "every row";
  private static final String EVALUATION = "evaluation";
  private static final String BARE_EVALUATION = "evaluation as it is";
  private static final Set<String> KINDS =
      Set.of("training", "roll-out", EVALUATION, BARE_EVALUATION, "early stop");
  private static final List<String> GROUP = List.of("grpo", "rloo", "reinforce-pp");
  private static final List<String> ALL =
      List.of("sft", "reward", "raft", "ppo", "grpo", "rloo", "reinforce-pp");

  private final List<String> names = new ArrayList<>();

  /** As {@code ppo training val/ratio}, the name as it stands in the row. */
  private final Set<String> fields = new HashSet<>();

  /** Those of the fields that all such rows have. */
  private final Set<String> always = new HashSet<>();

  private final Set<String> seen = new HashSet<>();

  static MetricDictionary read(Path file) throws IOException {
    MetricDictionary dictionary = new MetricDictionary();
    boolean isInTable = false;
    for (String line : Files.readAllLines(file)) {
      isInTable = line.equals(HEADER) || isInTable && line.startsWith("|");
      if (isInTable && line.startsWith("| `")) {
        String[] cells = line.split(" *\\| *", 4);
        dictionary.add(cells[1].replace("`", ""), cells[2]);
      }
    }
    return dictionary;
  }

  private void add(String name, String places) {
    names.add(name);
    for (String told : places.split("; ")) {
      String place = told.replaceFirst(" \\(.+\\)$", "");
      boolean isConditional = !place.equals(told);
      String kind = place.replaceAll(":.*", "");
      boolean isEveryRow = place.equals(EVERY_ROW);
      assertTrue(isEveryRow || KINDS.contains(kind), name + ": " + place);
      String field = kind.equals(EVALUATION) ? MetricNames.eval(name) : name;
      for (String verb : verbs(isEveryRow ? "all" : place.substring(kind.length() + 2))) {
        for (String row : isEveryRow ? KINDS : Set.of(kind)) {
          String known = verb + " " + row.replace(BARE_EVALUATION, EVALUATION) + " " + field;
          fields.add(known);
          if (!isConditional) {
            always.add(known);
          }
        }
      }
    }
  }

  private static Set<String> verbs(String words) {
    Set<String> verbs = new TreeSet<>();
    for (String word : words.split(", ")) {
      verbs.addAll(word.equals("all") ? ALL : word.equals("group") ? GROUP : List.of(word));
    }
    assertTrue(ALL.containsAll(verbs), verbs.toString());
    return verbs;
  }

  /** The metrics, as often as they stand there. */
  List<String> names() {
    return names;
  }

  /** Requires of a run's rows that they have the fields that the dictionary has, and no others. */
  void check(String verb, Path output) {
    Set<String> kinds = new TreeSet<>();
    for (Map<String, Object> row : MetricsLog.read(output.resolve(MetricsLog.FILE_NAME))) {
      String begin = verb + " " + kind(row) + " ";
      kinds.add(kind(row));
      Set<String> found = new TreeSet<>();
      row.keySet().forEach(field -> found.add(begin + field));
      seen.addAll(found);
      Set<String> unknown = new TreeSet<>(found);
      unknown.removeAll(fields);
      assertEquals(Set.of(), unknown, "not in METRICS.md");
      Set<String> missing = new TreeSet<>(always);
      missing.removeIf(field -> !field.startsWith(begin));
      missing.removeAll(found);
      assertEquals(Set.of(), missing, "in METRICS.md, and not in " + row);
    }
    boolean isOnline = !verb.equals("sft") && !verb.equals("reward");
    assertEquals(
        isOnline ? Set.of(EVALUATION, "roll-out", "training") : Set.of(EVALUATION, "training"),
        kinds);
  }

  /** The names that no row of the runs that were checked has had. */
  Set<String> unseen() {
    Set<String> unseen = new TreeSet<>(names);
    seen.forEach(field -> unseen.remove(field.replaceAll(".* (eval_)?", "")));
    return unseen;
  }

  private static String kind(Map<String, Object> row) {
    if (row.containsKey(MetricNames.LOSS)) {
      return "training";
    }
    if (row.keySet().stream().anyMatch(field -> field.startsWith(MetricNames.EVAL_PREFIX))) {
      return EVALUATION;
    }
    return row.containsKey(MetricNames.EARLY_STOP_STEPS) ? "early stop" : "roll-out";
  }
}
