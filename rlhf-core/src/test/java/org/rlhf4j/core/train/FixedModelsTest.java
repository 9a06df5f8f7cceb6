package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.RlhfException;

class FixedModelsTest {
  /** So that a checkpoint and a message are the same in every process. */
  @Test
  void modelsStayInTheirOrder() {
    List<String> keys = List.of("one", "two", "three", "four", "five", "six");
    Map<String, String> identities = new LinkedHashMap<>();
    keys.forEach(key -> identities.put(key, "00ff"));
    FixedModels models = new FixedModels(identities);
    assertEquals(keys, new ArrayList<>(models.identities().keySet()));
    identities.replaceAll((key, identity) -> key.equals("one") ? identity : "ff00");
    RlhfException refused =
        assertThrows(
            RlhfException.class, () -> models.requireSame(new FixedModels(identities).values()));
    assertTrue(refused.getMessage().startsWith("two: "), refused.getMessage());
  }
}
