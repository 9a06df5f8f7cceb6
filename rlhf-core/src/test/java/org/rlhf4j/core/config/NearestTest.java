package org.rlhf4j.core.config;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NearestTest {
  @ParameterizedTest
  @CsvSource({"kitten, sitting, 3", "ab, ba, 1", "'', abc, 3", "same, same, 0", "flaw, lawn, 2"})
  void distanceCountsInsertionsDeletionsSubstitutionsAndSwaps(String a, String b, int distance) {
    assertEquals(distance, Nearest.distance(a, b));
    assertEquals(distance, Nearest.distance(b, a));
  }

  @Test
  void hintNamesTheNearestWordAndSaysHowSureItIs() {
    List<String> words = List.of("learning_rate", "seed", "eval_steps");
    assertEquals("did you mean 'learning_rate'?", Nearest.hint("learnign_rate", words));
    assertEquals("did you mean 'learning_rate'?", Nearest.hint("Learning-Rate", words));
    assertEquals("the nearest is 'seed'", Nearest.hint("lora_r", words));
  }
}
